-- Run as hub_owner.
CREATE TABLE hub.flags (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	kind TEXT NOT NULL, 
	organisation TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	owner TEXT, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	reason TEXT NOT NULL, 
	leaves BIGINT[] NOT NULL, 
	events UUID[] NOT NULL, 
	raised_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT flags_cites CHECK (cardinality(leaves) > 0 and cardinality(leaves) = cardinality(events))
);
CREATE INDEX flags_at ON hub.flags (at);
CREATE INDEX flags_owner ON hub.flags (owner, id);

CREATE TABLE hub.flag_steps (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	flag BIGINT NOT NULL, 
	state TEXT NOT NULL, 
	note TEXT NOT NULL, 
	organisation TEXT NOT NULL, 
	person UUID, 
	client TEXT, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT flag_steps_state CHECK (state in ('looked-at', 'explained', 'escalated')), 
	FOREIGN KEY(flag) REFERENCES hub.flags (id)
);
CREATE INDEX flag_steps_flag ON hub.flag_steps (flag, id);

CREATE TABLE hub.flag_pasts (
	subject TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	past JSONB NOT NULL, 
	PRIMARY KEY (subject, owner)
);

CREATE TABLE hub.flag_progress (
	one BOOLEAN DEFAULT true NOT NULL, 
	reached BIGINT NOT NULL, 
	seen BIGINT NOT NULL, 
	seen_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	PRIMARY KEY (one), 
	CONSTRAINT flag_progress_one CHECK (one)
);

CREATE TABLE hub.access_reviews (
	id UUID NOT NULL, 
	organisation TEXT NOT NULL, 
	title TEXT NOT NULL, 
	scope JSONB NOT NULL, 
	every TEXT NOT NULL, 
	within_days INTEGER NOT NULL, 
	assignee UUID NOT NULL, 
	next_from TIMESTAMP WITH TIME ZONE NOT NULL, 
	set_up_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	ended_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (id), 
	CONSTRAINT access_reviews_every CHECK (every in ('month', 'quarter', 'half-year', 'year')), 
	CONSTRAINT access_reviews_within_days CHECK (within_days between 1 and 90), 
	FOREIGN KEY(assignee) REFERENCES hub.people (id)
);
CREATE INDEX access_reviews_organisation ON hub.access_reviews (organisation);

CREATE TABLE hub.review_runs (
	id UUID NOT NULL, 
	review UUID NOT NULL, 
	since TIMESTAMP WITH TIME ZONE NOT NULL, 
	until TIMESTAMP WITH TIME ZONE NOT NULL, 
	due_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	assignee UUID NOT NULL, 
	opened_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	figures TEXT NOT NULL, 
	signed TEXT, 
	signed_at TIMESTAMP WITH TIME ZONE, 
	PRIMARY KEY (id), 
	CONSTRAINT review_runs_period CHECK (since < until and until <= opened_at), 
	CONSTRAINT review_runs_signed CHECK ((signed is null) = (signed_at is null)), 
	UNIQUE (review, since), 
	FOREIGN KEY(review) REFERENCES hub.access_reviews (id), 
	FOREIGN KEY(assignee) REFERENCES hub.people (id)
);

CREATE TABLE hub.review_marks (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	run UUID NOT NULL, 
	line INTEGER NOT NULL, 
	decision TEXT NOT NULL, 
	note TEXT NOT NULL, 
	person UUID NOT NULL, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT review_marks_decision CHECK (decision in ('in-order', 'question', 'revoke')), 
	FOREIGN KEY(run) REFERENCES hub.review_runs (id)
);
CREATE INDEX review_marks_run ON hub.review_marks (run, id);

