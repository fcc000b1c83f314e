CREATE TABLE keys.signed (
	n BIGINT NOT NULL, 
	event UUID NOT NULL, 
	leaf_hash BYTEA NOT NULL, 
	chain BYTEA NOT NULL, 
	key BYTEA NOT NULL, 
	signature BYTEA NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (n)
);

grant select, insert on keys.signed to hub_keys;
