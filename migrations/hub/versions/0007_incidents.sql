-- Run as hub_owner (hub/sharing/stored.py at this revision).
grant select (id, revision_no, provider, released, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id) on hub.incidents to hub_agreements;  -- an effect diff counts; nothing sealed
