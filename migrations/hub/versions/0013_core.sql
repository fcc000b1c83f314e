-- Run as hub_owner.

-- What the key process has signed, as it tells it: only ever added to.
create trigger append_only before update or delete or truncate on hub.leaf_signatures for each statement execute function hub.audit_is_append_only();
grant select, insert on hub.leaf_signatures to hub_keyd;
grant select on hub.leaf_signatures to hub_auditor;
grant execute on function hub.organisation_names to hub_keyd;
