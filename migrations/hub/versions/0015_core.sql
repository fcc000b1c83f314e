-- Run as hub_owner.

-- What the roots in leaves were made of: only ever added to. Hashes don't compress.
alter table hub.leaf_entries alter column entries set storage external;
create trigger append_only before update or delete or truncate on hub.leaf_entries for each statement execute function hub.audit_is_append_only();
grant insert on hub.leaf_entries to hub_writer;
grant select on hub.leaf_entries to hub_auditor;
