-- Run as hub_owner. The log by months; what the tree over it needs.

-- An event's id begins with its time (UUIDv7), so a range of ids is a month, and a leaf is found by its event without asking every month.
-- What the log holds so far stays one partition.
alter table hub.audit_leaves rename to audit_leaves_before;
alter table hub.audit_leaves_before drop constraint audit_leaves_pkey, drop constraint audit_leaves_event_owner_part_key,
  alter column id drop identity;
alter index hub.audit_leaves_at rename to audit_leaves_before_at;
alter index hub.audit_leaves_extent rename to audit_leaves_before_extent;
alter index hub.audit_leaves_owner_at rename to audit_leaves_before_owner_at;
alter index hub.audit_leaves_terms rename to audit_leaves_before_terms;

CREATE TABLE hub.audit_leaves (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	event UUID NOT NULL, 
	part INTEGER NOT NULL, 
	type TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	organisation TEXT, 
	owner TEXT, 
	extent geometry(POLYGON,4326), 
	leaf TEXT NOT NULL, 
	leaf_hash BYTEA NOT NULL, 
	terms TEXT[] DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id, event), 
	UNIQUE NULLS NOT DISTINCT (event, owner, part), 
	CONSTRAINT audit_leaves_size CHECK (octet_length(leaf) <= 65535)
) PARTITION BY RANGE (event);

CREATE INDEX audit_leaves_at ON hub.audit_leaves (at DESC);

CREATE INDEX audit_leaves_extent ON hub.audit_leaves USING gist (extent);

CREATE INDEX audit_leaves_owner_at ON hub.audit_leaves (owner, at DESC);

CREATE INDEX audit_leaves_terms ON hub.audit_leaves USING gin (terms);

CREATE TABLE hub.log_pending (
	leaf BIGINT NOT NULL, 
	leaf_hash BYTEA NOT NULL, 
	owner TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL, 
	PRIMARY KEY (leaf)
);

CREATE TABLE hub.log_index (
	idx BIGINT NOT NULL, 
	leaf BIGINT, 
	leaf_hash BYTEA NOT NULL, 
	owner TEXT, 
	n BIGINT, 
	PRIMARY KEY (idx)
);

CREATE INDEX log_index_leaf_hash ON hub.log_index (leaf_hash);

CREATE INDEX log_index_leaf ON hub.log_index (leaf) WHERE leaf IS NOT NULL;

CREATE INDEX log_index_owner_n ON hub.log_index (owner, n) WHERE owner IS NOT NULL;

CREATE TABLE hub.heads_leaves (
	idx BIGINT NOT NULL, 
	leaf TEXT NOT NULL, 
	PRIMARY KEY (idx), 
	CONSTRAINT heads_leaves_size CHECK (octet_length(leaf) <= 65535)
);

CREATE TABLE hub.log_tiles (
	level SMALLINT NOT NULL, 
	n BIGINT NOT NULL, 
	hashes BYTEA NOT NULL, 
	PRIMARY KEY (level, n)
);

CREATE TABLE hub.log_heads (
	owner TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	chain BYTEA NOT NULL, 
	PRIMARY KEY (owner)
);

CREATE TABLE hub.log_state (
	one BOOLEAN DEFAULT true NOT NULL, 
	size BIGINT NOT NULL, 
	root BYTEA NOT NULL, 
	whole_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	beat_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	expired BIGINT DEFAULT 0 NOT NULL, 
	PRIMARY KEY (one), 
	CONSTRAINT log_state_one CHECK (one)
);

CREATE TABLE hub.checkpoints (
	size BIGINT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	note TEXT NOT NULL, 
	PRIMARY KEY (size)
);

CREATE TABLE hub.witnesses (
	name TEXT NOT NULL, 
	key TEXT NOT NULL, 
	added_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	removed_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (name)
);

CREATE TABLE hub.cosignatures (
	witness TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	line TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (witness, size), 
	FOREIGN KEY(size) REFERENCES hub.checkpoints (size), 
	FOREIGN KEY(witness) REFERENCES hub.witnesses (name)
);

CREATE INDEX cosignatures_size ON hub.cosignatures (size);

CREATE TABLE hub.log_alarms (
	kind TEXT NOT NULL, 
	about TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	ended_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (kind, about, at)
);

do $$
declare next_month date := (date_trunc('month', now() at time zone 'UTC') + interval '1 month')::date;
begin
  if not exists (select from hub.audit_leaves_before) then
    drop table hub.audit_leaves_before;
    return;
  end if;
  execute format('alter table hub.audit_leaves attach partition hub.audit_leaves_before for values from (minvalue) to (%L)',
    rpad(lpad(to_hex((extract(epoch from next_month::timestamp at time zone 'UTC') * 1000)::bigint), 12, '0'), 32, '0')::uuid);
  perform setval(pg_get_serial_sequence('hub.audit_leaves', 'id'), (select max(id) from hub.audit_leaves_before));
  insert into hub.log_pending (leaf, leaf_hash, owner)
  select id, leaf_hash, coalesce(owner, '') from hub.audit_leaves_before order by id;
end $$;

grant select on hub.audit_leaves to hub_auditor;
