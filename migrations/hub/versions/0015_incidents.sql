-- Run as hub_owner (hub/sharing/inventory.py at this revision).

-- What lies under these numbers, and where: of each revision the SHA-256 over its ciphertexts that went into the leaf of its publication.
create function hub.incidents_inventory(p_numbers bigint[])
returns table (revision_no bigint, id uuid, rev int, owner text, part text, digest bytea)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select r.revision_no, r.id, r.rev, o.slug, r.part, r.digest from (
    select r.revision_no, r.id, r.rev, r.provider, 'current', sha256(coalesce(int2send(3::int2) || int4send(length(r.place_sealed)) || r.place_sealed, '') || coalesce(int2send(4::int2) || int4send(length(r.narrative_sealed)) || r.narrative_sealed, '') || coalesce(int2send(5::int2) || int4send(length(r.phone_sealed)) || r.phone_sealed, '') || coalesce(int2send(12::int2) || int4send(length(r.title_sealed)) || r.title_sealed, '') || coalesce(int2send(13::int2) || int4send(length(r.address_sealed)) || r.address_sealed, '') || coalesce(int2send(14::int2) || int4send(length(r.people_sealed)) || r.people_sealed, '') || coalesce(int2send(15::int2) || int4send(length(r.vehicles_sealed)) || r.vehicles_sealed, '') || coalesce(int2send(16::int2) || int4send(length(r.extra_sealed)) || r.extra_sealed, '')) from hub.incidents r where r.revision_no = any(p_numbers)
    union all select r.revision_no, r.id, r.rev, r.provider, 'history', sha256(coalesce(int2send(3::int2) || int4send(length(r.place_sealed)) || r.place_sealed, '') || coalesce(int2send(4::int2) || int4send(length(r.narrative_sealed)) || r.narrative_sealed, '') || coalesce(int2send(5::int2) || int4send(length(r.phone_sealed)) || r.phone_sealed, '') || coalesce(int2send(12::int2) || int4send(length(r.title_sealed)) || r.title_sealed, '') || coalesce(int2send(13::int2) || int4send(length(r.address_sealed)) || r.address_sealed, '') || coalesce(int2send(14::int2) || int4send(length(r.people_sealed)) || r.people_sealed, '') || coalesce(int2send(15::int2) || int4send(length(r.vehicles_sealed)) || r.vehicles_sealed, '') || coalesce(int2send(16::int2) || int4send(length(r.extra_sealed)) || r.extra_sealed, '')) from hub.incidents_history r where r.revision_no = any(p_numbers)
    union all select r.revision_no, r.id, r.rev, r.provider, 'withdrawn', sha256('') from hub.incidents_withdrawn r where r.revision_no = any(p_numbers)
    union all select r.revision_no, r.id, r.rev, r.provider, 'shredded', r.digest from hub.incidents_shredded r where r.revision_no = any(p_numbers)) r(revision_no, id, rev, provider, part, digest)
  left join hub.organisations o on o.id = r.provider
$$;
-- The next revisions after a number, in their order; of each record the number of its newest revision and of its current one.
create function hub.incidents_listing(p_after bigint, p_count int)
returns table (revision_no bigint, id uuid, rev int, owner text, part text, newest bigint, current bigint)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select r.revision_no, r.id, r.rev, o.slug, r.part, greatest((select max(x.revision_no) from hub.incidents x where x.id = r.id), (select max(x.revision_no) from hub.incidents_history x where x.id = r.id), (select max(x.revision_no) from hub.incidents_withdrawn x where x.id = r.id), (select max(x.revision_no) from hub.incidents_shredded x where x.id = r.id)), (select c.revision_no from hub.incidents c where c.id = r.id)
  from (select * from (
    (select r.revision_no, r.id, r.rev, r.provider, 'current' from hub.incidents r where r.revision_no > p_after order by r.revision_no limit p_count)
    union all (select r.revision_no, r.id, r.rev, r.provider, 'history' from hub.incidents_history r where r.revision_no > p_after order by r.revision_no limit p_count)
    union all (select r.revision_no, r.id, r.rev, r.provider, 'withdrawn' from hub.incidents_withdrawn r where r.revision_no > p_after order by r.revision_no limit p_count)
    union all (select r.revision_no, r.id, r.rev, r.provider, 'shredded' from hub.incidents_shredded r where r.revision_no > p_after order by r.revision_no limit p_count)) u(revision_no, id, rev, provider, part) order by u.revision_no
        fetch first p_count rows with ties) r  -- a number that lies in two places stays on one page
  left join hub.organisations o on o.id = r.provider order by r.revision_no, r.part
$$;
revoke execute on function hub.incidents_inventory, hub.incidents_listing from public;
grant execute on function hub.incidents_inventory, hub.incidents_listing to hub_auditor;
