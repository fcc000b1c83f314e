-- Run as hub_owner. Duties of grants, what was delivered under them, and recalls.

alter table hub.grants add column duties jsonb;

CREATE TABLE hub.deliveries (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	event UUID NOT NULL, 
	recipient INTEGER NOT NULL, 
	provider INTEGER NOT NULL, 
	dataset SMALLINT NOT NULL, 
	mou TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	grants INTEGER[] NOT NULL, 
	fields JSONB NOT NULL, 
	records UUID[] NOT NULL, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	retain_until TIMESTAMP WITH TIME ZONE, 
	acknowledge_s BIGINT NOT NULL, 
	destroyed_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(recipient) REFERENCES hub.organisations (id), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);
CREATE INDEX deliveries_provider ON hub.deliveries (provider, mou);
CREATE INDEX deliveries_recipient ON hub.deliveries (recipient, mou, at);
CREATE INDEX deliveries_records ON hub.deliveries USING gin (records);

CREATE TABLE hub.recalls (
	id UUID DEFAULT gen_random_uuid() NOT NULL, 
	recipient INTEGER NOT NULL, 
	provider INTEGER NOT NULL, 
	dataset SMALLINT, 
	kind TEXT NOT NULL, 
	record UUID, 
	mou TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	due_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	acknowledged_at TIMESTAMP WITH TIME ZONE, 
	answer TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT recalls_kind CHECK (kind in ('correction', 'withdrawal', 'revocation', 'erasure')), 
	CONSTRAINT recalls_answer CHECK (answer in ('corrected', 'destroyed', 'not-held')), 
	CONSTRAINT recalls_answered CHECK ((answer is null) = (acknowledged_at is null)), 
	FOREIGN KEY(recipient) REFERENCES hub.organisations (id), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);
CREATE INDEX recalls_provider ON hub.recalls (provider, at);
CREATE INDEX recalls_recipient ON hub.recalls (recipient, at);
