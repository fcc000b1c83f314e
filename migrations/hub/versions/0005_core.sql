-- Run as hub_owner. What hub_agreements may do.
grant select on hub.organisations to hub_agreements;
grant select, insert on hub.mous, hub.grants, hub.mou_areas to hub_agreements;
grant update (state, ordered_by) on hub.mous to hub_agreements;
grant select, insert, update, delete on hub.mou_work to hub_agreements;
grant select, update (epoch) on hub.policy_epoch to hub_agreements;
grant execute on function hub.audit_append to hub_agreements;
