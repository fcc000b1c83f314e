-- Run as hub_owner.

alter table hub.grants add column min_count int;
