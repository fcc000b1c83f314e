-- Run as hub_owner. A version that comes into force is labelled first, in batches that go on where they were cut off.

alter table hub.mous drop constraint mous_state;
alter table hub.mous add column ordered_by jsonb,
  add constraint mous_state check (state in ('activating', 'active', 'superseded'));

CREATE TABLE hub.mou_work (
	mou_id INTEGER NOT NULL, 
	dataset SMALLINT NOT NULL, 
	provider INTEGER NOT NULL, 
	adds INTEGER[] NOT NULL, 
	takes INTEGER[] NOT NULL, 
	k2 INTEGER DEFAULT '-1' NOT NULL, 
	id UUID DEFAULT '00000000-0000-0000-0000-000000000000' NOT NULL, 
	touched BIGINT DEFAULT '0' NOT NULL, 
	done BOOLEAN DEFAULT false NOT NULL, 
	PRIMARY KEY (mou_id, dataset), 
	FOREIGN KEY(mou_id) REFERENCES hub.mous (id)
);
