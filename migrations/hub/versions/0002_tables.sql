-- Run as hub_owner. Tombstones, imports, kept replies; no inbox any more, and no foreign key that is asked for once a row.

drop function hub.incidents_lock(int, text[]);
drop function hub.incidents_store(uuid, int);
drop table hub.incidents_inbox;

alter table hub.incidents drop constraint incidents_provider_fkey;
alter table hub.incidents_history drop constraint incidents_history_provider_fkey;

CREATE TABLE hub.incidents_withdrawn (
	id UUID NOT NULL, 
	rev INTEGER NOT NULL, 
	revision_no BIGINT NOT NULL, 
	provider INTEGER NOT NULL, 
	external_id TEXT NOT NULL, 
	released INTEGER[] NOT NULL, 
	withdrawn_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (id, rev), 
	UNIQUE (revision_no), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);

CREATE INDEX incidents_withdrawn_external_id ON hub.incidents_withdrawn (provider, external_id);

CREATE TABLE hub.imports (
	id UUID NOT NULL, 
	provider INTEGER NOT NULL, 
	client TEXT NOT NULL, 
	dataset SMALLINT NOT NULL, 
	state TEXT NOT NULL, 
	dry_run BOOLEAN NOT NULL, 
	order_mac BYTEA NOT NULL, 
	digest_mac BYTEA, 
	order_sealed BYTEA, 
	length BIGINT, 
	position JSONB NOT NULL, 
	counts JSONB NOT NULL, 
	problem JSONB, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT imports_state CHECK (state in ('open', 'done', 'failed', 'cancelled')), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);

CREATE INDEX imports_provider ON hub.imports (provider, created_at DESC);

CREATE TABLE hub.import_batches (
	import UUID NOT NULL, 
	first_row BIGINT NOT NULL, 
	outcomes TEXT NOT NULL, 
	revisions BIGINT[] NOT NULL, 
	notes JSONB NOT NULL, 
	equals BYTEA NOT NULL, 
	event UUID, 
	leaf TEXT, 
	PRIMARY KEY (import, first_row), 
	FOREIGN KEY(import) REFERENCES hub.imports (id) ON DELETE CASCADE
);

CREATE TABLE hub.replies (
	client TEXT NOT NULL, 
	key_mac BYTEA NOT NULL, 
	request_mac BYTEA NOT NULL, 
	status INTEGER NOT NULL, 
	headers JSONB NOT NULL, 
	body BYTEA NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (client, key_mac)
);

CREATE INDEX replies_at ON hub.replies (at);
