"""The agreements of one's organisation, in words: what is in force, what each gives to whom, and where. Auditors read all of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.agreements.in_force import Agreement, Area
from hub.agreements.store import Actor, Version
from hub.errors import NoSuchResource
from hub.maps.live import live_map
from hub.policy import words
from hub.policy.clauses import Grant
from hub.web.reminders import Mark, marks
from hub.web.shell import HEADERS, Pages, Visit, render, visit_of

Marks = Mapping[tuple[str, int], Mark]


@dataclass(frozen=True, slots=True)
class Card:
    """One agreement as the overview shows it, and as its own page begins. `side`: which part the reader's organisation has in it."""

    agreement: Agreement
    headline: str
    state: str
    mark: Mark | None
    side: str

    @property
    def ends(self) -> str | None:
        """That it ends within its notice, in words."""
        return self.mark.ends if self.mark else None

    @property
    def renewal_due(self) -> bool:
        return self.mark is not None and self.mark.renewal


def overview(request: Request) -> Response:
    visit = visit_of(request)
    now, names = visit.called.clock(), _names(visit)
    marked = _marks(visit, now)
    cards = [_card(visit, agreement, now, names, marked) for agreement in visit.called.agreements.of(_whose(visit))]
    in_force = sorted((c for c in cards if c.state == "in force"), key=lambda c: (not c.renewal_due, c.ends is None, c.agreement.mou.mou))
    return render(
        request,
        "agreements.html",
        visit,
        everybodys=_whose(visit) is None,
        in_force=in_force,
        others=[c for c in cards if c.state != "in force"],
        soon=sum(c.renewal_due for c in in_force),
        versions=_versions(request, visit),
        day=words.day,
    )


def _versions(request: Request, visit: Visit) -> list[tuple[Version, str]]:
    """For an agreement lead: every version that isn't over, and its state."""
    if "agreement-lead" not in visit.roles:
        return []
    now, actor = visit.called.clock(), Actor(visit.person.organisation.slug, visit.by(request))
    found = [(v, v.state_at(now)) for v in visit.called.lifecycle.list(actor)]
    return [(v, state) for v, state in found if state not in ("superseded", "terminated", "withdrawn")]


def agreement(request: Request) -> Response:
    """One agreement in full. What is absent and what is other people's is one answer."""
    visit = visit_of(request)
    found = _of(visit, request.path_params["mou"])
    names, now = _names(visit), visit.called.clock()
    parties, contacts = words.parties(found.mou, names), found.mou.contacts
    return render(
        request,
        "agreement.html",
        visit,
        card=_card(visit, found, now, names, _marks(visit, now)),
        mou=found.mou,
        parties=parties,
        human=found.mou.says_how_parties_work,
        contacts=list(zip(parties, (contacts.provider, contacts.consumer), strict=True)) if contacts else [],
        grants=[(grant, _explained(visit, found, grant, names)) for grant in found.mou.grants],
        refusals=[(refusal, words.explain_refusal(found.mou, refusal, names)) for refusal in found.mou.refuse],
        asks=_asks(visit, found) if found.consumer_id == visit.person.organisation.id else [],
        period=words.in_force_words(found.mou),
        review=words.review_words(found.mou),
        day=words.day,
        loaded_at=found.loaded_at,
        source=found.mou.source.decode(),
        log=_log(visit, found),
        mapped=any(area.mou == found.mou.mou for area in visit.called.agreements.areas(_whose(visit))),
        parts=live_map(),
    )


def _log(visit: Visit, found: Agreement) -> str | None:
    """Where the reader finds what was done under the agreement: its provider in its own log, an auditor in all of it."""
    if visit.sees_whole_log:
        return "/audit"
    return "/owner" if visit.sees_own_log and found.provider_id == visit.person.organisation.id else None


def areas(request: Request) -> Response:
    """The areas of the reader's agreements, or of the one that `mou` names, as GeoJSON: (lon, lat) in degrees."""
    visit = visit_of(request)
    titles = {a.mou.mou: a.mou.title for a in visit.called.agreements.of(_whose(visit))}
    wanted = request.query_params.get("mou")
    if wanted is not None and wanted not in titles:
        raise _absent()
    found = [a for a in visit.called.agreements.areas(_whose(visit)) if wanted in (None, a.mou)]
    return Response(_collection(found, titles), 200, HEADERS, "application/geo+json")


def pages() -> Pages:
    routes = Pages()
    routes.get("/agreements", overview)
    routes.get("/agreements/areas.json", areas)
    routes.get("/agreements/{mou}", agreement)
    return routes


def _whose(visit: Visit) -> int | None:
    """The organisation whose agreements a person reads; None: everybody's."""
    organisation = visit.person.organisation
    return None if organisation.kind == "auditor" else organisation.id


def _of(visit: Visit, name: str) -> Agreement:
    for found in visit.called.agreements.of(_whose(visit)):
        if found.mou.mou == name:
            return found
    raise _absent()


def _absent() -> NoSuchResource:
    return NoSuchResource("There is no agreement of that name, or your organisation is not a party of it. See the list of agreements.")


def _names(visit: Visit) -> dict[str, str]:
    return {organisation.slug: organisation.name for organisation in visit.called.directory.organisations()}


def _marks(visit: Visit, now: datetime) -> Marks:
    return marks(visit.called, None if _whose(visit) is None else visit.person.organisation.slug, now)


def _card(visit: Visit, found: Agreement, now: datetime, names: Mapping[str, str], marked: Marks) -> Card:
    mine = visit.person.organisation.id
    side = {found.provider_id: "you give", found.consumer_id: "you receive"}.get(mine, "")
    mark = marked.get((found.mou.mou, found.mou.version))
    return Card(found, words.headline(found.mou, names), found.state(now), mark, side)


def _explained(visit: Visit, found: Agreement, grant: Grant, names: Mapping[str, str]) -> words.Explained:
    return words.explain(found.mou, grant, names, visit.called.datasets[grant.dataset].dataset)


def _asks(visit: Visit, found: Agreement) -> list[tuple[Grant, tuple[str, ...]]]:
    """What the reader's organisation could ask for, by the text of the agreement alone."""
    return [(grant, words.could_ask(grant, visit.called.datasets[grant.dataset].dataset)) for grant in found.mou.grants]


def _collection(areas: Iterable[Area], titles: Mapping[str, str]) -> bytes:
    features = [
        {
            "type": "Feature",
            "properties": {"mou": a.mou, "name": a.name, "title": titles.get(a.mou, a.mou)},
            "geometry": orjson.Fragment(a.geojson),
        }
        for a in areas
    ]
    return orjson.dumps({"type": "FeatureCollection", "features": features})
