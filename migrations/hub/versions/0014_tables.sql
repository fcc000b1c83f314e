-- Run as hub_owner.

CREATE TABLE hub.retention (
	provider INTEGER NOT NULL, 
	dataset SMALLINT NOT NULL, 
	months INTEGER NOT NULL, 
	since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (provider, dataset), 
	CONSTRAINT retention_months CHECK (months between 1 and 1200), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);

CREATE TABLE hub.holds (
	id UUID NOT NULL, 
	provider INTEGER NOT NULL, 
	dataset SMALLINT NOT NULL, 
	record UUID, 
	since TIMESTAMP WITH TIME ZONE, 
	until TIMESTAMP WITH TIME ZONE, 
	reference TEXT NOT NULL, 
	placed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	released_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (id), 
	CONSTRAINT holds_one_or_many CHECK (record is null or (since is null and until is null)), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);
CREATE INDEX holds_in_force ON hub.holds (provider, dataset, record) WHERE released_at IS NULL;

CREATE TABLE hub.shreds (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	event UUID NOT NULL, 
	provider INTEGER NOT NULL, 
	dataset SMALLINT NOT NULL, 
	kind TEXT NOT NULL, 
	records INTEGER NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	keys_gone_at TIMESTAMP WITH TIME ZONE, 
	complete_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (id), 
	CONSTRAINT shreds_kind CHECK (kind in ('request', 'rule', 'retention')), 
	UNIQUE (event), 
	FOREIGN KEY(provider) REFERENCES hub.organisations (id)
);
CREATE INDEX shreds_pending ON hub.shreds (id) WHERE keys_gone_at IS NULL;
CREATE INDEX shreds_provider ON hub.shreds (provider, id);

CREATE TABLE hub.incidents_shredded (
	id UUID NOT NULL, 
	rev INTEGER NOT NULL, 
	revision_no BIGINT NOT NULL, 
	provider INTEGER NOT NULL, 
	digest BYTEA NOT NULL, 
	shred BIGINT NOT NULL, 
	PRIMARY KEY (id, rev), 
	UNIQUE (revision_no), 
	FOREIGN KEY(shred) REFERENCES hub.shreds (id)
);
CREATE INDEX incidents_shredded_shred ON hub.incidents_shredded (shred);

ALTER TABLE hub.incidents ADD COLUMN kept_until DATE;
ALTER TABLE hub.incidents_history ADD COLUMN kept_until DATE;
CREATE INDEX incidents_kept_until ON hub.incidents (kept_until) WHERE kept_until IS NOT NULL;
CREATE INDEX incidents_history_kept_until ON hub.incidents_history (kept_until) WHERE kept_until IS NOT NULL;
