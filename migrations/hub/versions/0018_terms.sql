-- Run as hub_owner, once: the terms of the leaves that were there before, of those that name grants. The leaves themselves stay as they are.
alter table hub.audit_leaves disable trigger append_only;
update hub.audit_leaves set terms = hub.leaf_terms(leaf::jsonb) where leaf like '%"grants":%';
alter table hub.audit_leaves enable trigger append_only;
