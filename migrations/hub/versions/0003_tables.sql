-- Run as hub_owner. People and their sessions, shared maps, areas of agreements; the log's terms.

alter table hub.grants add column case_required boolean not null default false;
alter table hub.audit_leaves add column terms text[] not null default '{}';
create index audit_leaves_terms on hub.audit_leaves using gin (terms);

CREATE TABLE hub.mou_areas (
	mou_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	area public.geometry(GEOMETRY,4326) NOT NULL, 
	PRIMARY KEY (mou_id, name), 
	FOREIGN KEY(mou_id) REFERENCES hub.mous (id)
);

CREATE TABLE hub.people (
	id UUID DEFAULT gen_random_uuid() NOT NULL, 
	organisation INTEGER NOT NULL, 
	handle TEXT NOT NULL, 
	name TEXT NOT NULL, 
	roles TEXT[] NOT NULL, 
	disabled_at TIMESTAMP WITH TIME ZONE, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT people_roles CHECK (roles <> '{}' and roles <@ array['integrator', 'analyst', 'auditor', 'agreement-lead', 'operator']), 
	FOREIGN KEY(organisation) REFERENCES hub.organisations (id), 
	UNIQUE (handle)
);

CREATE TABLE hub.passkeys (
	credential_id BYTEA NOT NULL, 
	person UUID NOT NULL, 
	public_key BYTEA NOT NULL, 
	sign_count BIGINT NOT NULL, 
	label TEXT NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	used_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (credential_id), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE INDEX passkeys_person ON hub.passkeys (person);

CREATE TABLE hub.recovery_codes (
	person UUID NOT NULL, 
	code_hash BYTEA NOT NULL, 
	used_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (person, code_hash), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE TABLE hub.tickets (
	token_hash BYTEA NOT NULL, 
	person UUID NOT NULL, 
	kind TEXT NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	used_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (token_hash), 
	CONSTRAINT tickets_kind CHECK (kind in ('invitation', 'link')), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE INDEX tickets_person ON hub.tickets (person);

CREATE TABLE hub.sessions (
	id UUID DEFAULT gen_random_uuid() NOT NULL, 
	token_hash BYTEA NOT NULL, 
	person UUID NOT NULL, 
	method TEXT NOT NULL, 
	purpose TEXT, 
	case_reference TEXT, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	ended_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (id), 
	CONSTRAINT sessions_method CHECK (method in ('passkey', 'recovery-code', 'link', 'invitation')), 
	UNIQUE (token_hash), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE INDEX sessions_person ON hub.sessions (person);

CREATE TABLE hub.challenges (
	challenge BYTEA NOT NULL, 
	kind TEXT NOT NULL, 
	person UUID, 
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	PRIMARY KEY (challenge), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE INDEX challenges_expires_at ON hub.challenges (expires_at);

CREATE TABLE hub.attempts (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	counted_by BYTEA NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (id)
);

CREATE INDEX attempts_at ON hub.attempts (at);

CREATE INDEX attempts_counted_by ON hub.attempts (counted_by, at);

CREATE TABLE hub.shared_maps (
	id UUID DEFAULT gen_random_uuid() NOT NULL, 
	organisation INTEGER NOT NULL, 
	person UUID NOT NULL, 
	dataset TEXT NOT NULL, 
	name TEXT NOT NULL, 
	query JSONB NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(organisation) REFERENCES hub.organisations (id), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE INDEX shared_maps_organisation ON hub.shared_maps (organisation, created_at DESC);
