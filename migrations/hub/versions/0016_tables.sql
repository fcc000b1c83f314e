-- Run as hub_owner.

CREATE TABLE hub.blind_index (
	dataset SMALLINT NOT NULL, 
	version INTEGER NOT NULL, 
	bits INTEGER NOT NULL, 
	next_version INTEGER, 
	next_bits INTEGER, 
	reached UUID, 
	PRIMARY KEY (dataset), 
	CONSTRAINT blind_index_bits CHECK (bits between 1 and 31 and next_bits between 1 and 31), 
	CONSTRAINT blind_index_next CHECK ((next_version is null) = (next_bits is null))
);

CREATE TABLE hub.incidents_blind (
	id UUID NOT NULL, 
	rev INTEGER NOT NULL, 
	provider INTEGER NOT NULL, 
	field SMALLINT NOT NULL, 
	version INTEGER NOT NULL, 
	tag INTEGER NOT NULL, 
	next_version INTEGER, 
	next_tag INTEGER
);
CREATE INDEX incidents_blind_id ON hub.incidents_blind (id);
CREATE INDEX incidents_blind_next_tag ON hub.incidents_blind (field, next_tag, provider);
CREATE INDEX incidents_blind_tag ON hub.incidents_blind (field, tag, provider);
