-- Run as hub_owner.

CREATE TABLE hub.leaf_entries (
	event UUID NOT NULL, 
	entries BYTEA NOT NULL, 
	PRIMARY KEY (event)
);
