-- Run as hub_owner. A session that began before has no proof: its person confirms with a passkey first.

alter table hub.sessions add column proven_at timestamptz;

delete from hub.challenges;  -- good for five minutes: who is just signing in tries once more
alter table hub.challenges add column asker bytea not null;
create index challenges_asker on hub.challenges (asker, expires_at);
