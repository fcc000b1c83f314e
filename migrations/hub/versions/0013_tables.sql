-- Run as hub_owner.

CREATE TABLE hub.leaf_signatures (
	n BIGINT NOT NULL, 
	event UUID NOT NULL, 
	leaf_hash BYTEA NOT NULL, 
	chain BYTEA NOT NULL, 
	key BYTEA NOT NULL, 
	signature BYTEA NOT NULL, 
	PRIMARY KEY (n), 
	CONSTRAINT leaf_signatures_sizes CHECK (octet_length(leaf_hash) = 32 and octet_length(chain) = 32 and octet_length(key) = 32 and octet_length(signature) = 64)
);

CREATE INDEX leaf_signatures_leaf ON hub.leaf_signatures (leaf_hash);
