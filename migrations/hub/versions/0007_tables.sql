-- Run as hub_owner. Steps of an agreement, keys and signatures of its parties, boundary files, effect diffs.

alter table hub.mous drop constraint mous_state;
alter table hub.mous add column document bytea,
  add column statement text,
  add column suspended_by int references hub.organisations (id),
  add column stepped_at timestamptz default now() not null,
  add constraint mous_state check (state in ('draft', 'proposed', 'signed', 'activating', 'active', 'suspended', 'terminated', 'withdrawn', 'superseded'));

CREATE TABLE hub.party_keys (
	kid TEXT NOT NULL, 
	organisation INTEGER NOT NULL, 
	jwk JSONB NOT NULL, 
	proof TEXT NOT NULL, 
	offered_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	confirmed_at TIMESTAMP WITH TIME ZONE, 
	revoked_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (kid), 
	FOREIGN KEY(organisation) REFERENCES hub.organisations (id)
);

CREATE TABLE hub.boundaries (
	sha256 TEXT NOT NULL, 
	organisation INTEGER NOT NULL, 
	content BYTEA NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (sha256), 
	FOREIGN KEY(organisation) REFERENCES hub.organisations (id)
);

CREATE TABLE hub.mou_signatures (
	mou_id INTEGER NOT NULL, 
	organisation INTEGER NOT NULL, 
	kid TEXT NOT NULL, 
	jws TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (mou_id, organisation), 
	FOREIGN KEY(mou_id) REFERENCES hub.mous (id), 
	FOREIGN KEY(organisation) REFERENCES hub.organisations (id), 
	FOREIGN KEY(kid) REFERENCES hub.party_keys (kid)
);

CREATE TABLE hub.mou_diffs (
	mou_id INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	body TEXT NOT NULL, 
	basis TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	PRIMARY KEY (mou_id), 
	FOREIGN KEY(mou_id) REFERENCES hub.mous (id)
);
