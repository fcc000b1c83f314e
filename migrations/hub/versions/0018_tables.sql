-- Run as hub_owner.

CREATE TABLE hub.saved_searches (
	id UUID DEFAULT gen_random_uuid() NOT NULL, 
	organisation INTEGER NOT NULL, 
	person UUID NOT NULL, 
	name TEXT NOT NULL, 
	query JSONB NOT NULL, 
	shared BOOLEAN NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(organisation) REFERENCES hub.organisations (id), 
	FOREIGN KEY(person) REFERENCES hub.people (id)
);

CREATE INDEX saved_searches_organisation ON hub.saved_searches (organisation);
