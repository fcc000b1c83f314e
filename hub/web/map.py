"""The analyst's map: the page, maps that are shared, and the export of one as a single file.

The page holds no record. Its script asks `/collections/…/map` like any client, for the purpose that its reader chose, and is logged.
"""

import re
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.agreements.in_force import Agreement
from hub.api.parameters import map_query
from hub.api.receipts import receipt
from hub.api.services import SESSION_COOKIE, reader_of, refusals_logged, token_of
from hub.errors import NoSuchResource
from hub.geo import TIERS
from hub.maps.live import live_map
from hub.maps.snapshot import Export, snapshot
from hub.policy import words
from hub.policy.treatments import CLEAR, ROUND_TO, Treatment
from hub.sharing.shared_maps import SharedMap
from hub.web.shell import HEADERS, Pages, Visit, form_of, go, render, visit_of

DATASET = "incidents"  # the one that there is


def page(request: Request) -> Response:
    """The map. Its address holds what is shown, so that a link shows it again, to whoever opens it, under their own rights."""
    visit = visit_of(request, "analyst", purpose=True)
    mous = _mous(visit)
    return render(
        request,
        "map.html",
        visit,
        parts=live_map(),
        kinds=_kinds(visit, mous),
        vocabulary=_vocabulary(visit),
        titles=orjson.dumps({a.mou.mou: a.mou.title for a in mous}).decode(),
        may_export=visit.called.agreements.may_export(visit.person.organisation.id, visit.session.purpose or "", visit.called.clock()),
        boundaries=visit.called.settings.boundaries_file is not None,
        shared=_named(visit, request.query_params.get("shared")),
    )


def script(request: Request) -> Response:
    """What folium wrote to set the map up."""
    return _static(live_map().script, "text/javascript")


def style(request: Request) -> Response:
    return _static(live_map().style, "text/css")


def shared(request: Request) -> Response:
    """The shared maps of the organisation."""
    visit = visit_of(request, "analyst")
    found = visit.called.maps.of(visit.person.organisation.id)
    names = visit.called.directory.names({m.person for m in found})
    fresh = _named(visit, request.query_params.get("new"))
    return render(request, "maps.html", visit, maps=found, names=names, told=_told, fresh=fresh, base_url=visit.called.settings.base_url)


def open_shared(request: Request) -> Response:
    """To the map with a shared map's question. It is asked with the rights, and for the purpose, of whoever opens it."""
    visit = visit_of(request, "analyst", purpose=True)
    found = _found(visit, request.path_params["id"])
    question = {name: found.query[name] for name in ("bbox", "datetime") if name in found.query} | dict(found.query.get("filters", {}))
    return go(f"/map?{urlencode({**question, 'shared': str(found.id)}, safe=',:/')}")


def share(request: Request, body: bytes) -> Response:
    """Keeps the question in the address under a name."""
    visit = visit_of(request, "analyst", purpose=True)
    form = form_of(request, visit, body)
    dataset = visit.called.shared(DATASET)
    map_query(request, dataset.dataset)  # refuses what could not be asked
    given = dict(request.query_params)
    question = {name: given.pop(name) for name in ("bbox", "datetime") if name in given} | {"filters": given}
    number = visit.called.maps.add(visit.person.organisation.id, visit.person.id, DATASET, form.get("name", ""), question)
    return go(f"/maps?new={number}")


def forget(request: Request, body: bytes) -> Response:
    """Deletes one's own shared map."""
    visit = visit_of(request, "analyst")
    form_of(request, visit, body)
    if not visit.called.maps.delete(_id(request.path_params["id"]), visit.person.id):
        raise NoSuchResource("There is no such shared map of yours; it may be deleted already.")
    return go("/maps")


def export(request: Request, body: bytes) -> Response:
    """The map as one file. A disclosure of its own: under the grants that allow to export, logged before it is sent."""
    visit = visit_of(request, "analyst", purpose=True)
    form_of(request, visit, body)
    dataset = visit.called.shared(DATASET)
    query = map_query(request, dataset.dataset)
    token, by = token_of(visit.session, request.cookies.get(SESSION_COOKIE, "")), visit.by(request)
    with refusals_logged(visit.called, token, by):
        found = dataset.querying.export(reader_of(token, by), query)
    text = snapshot(_about(visit, request, found.at), f"[{','.join(found.features)}]")
    name = f"concord-{found.at:%Y%m%d-%H%M}.html"
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Disposition": f'attachment; filename="{name}"'}
    headers |= receipt(found.signed)
    return Response(text, 200, headers, "text/html; charset=utf-8")


def _about(visit: Visit, request: Request, at: datetime) -> Export:
    said = {"bbox": "Area (west, south, east, north)", "datetime": "Time", "category": "Kinds"}
    session = visit.session
    return Export(
        title="Incidents shared with " + visit.person.organisation.name,
        viewer=visit.person.name,
        organisation=visit.person.organisation.name,
        purpose=session.purpose or "",
        case=session.case,
        at=at,
        filters=[(said.get(name, name), _in_words(name, value)) for name, value in request.query_params.items()],
        mous=[(a.mou.mou, a.mou.version, a.mou.title) for a in _mous(visit, "export")],
    )


def _mous(visit: Visit, action: str = "query") -> list[Agreement]:
    """The agreements in force that let the reader's organisation do `action` for its purpose."""
    mine, now = visit.person.organisation.id, visit.called.clock()
    return [
        a for a in visit.called.agreements.of(mine)
        if a.consumer_id == mine and a.state(now) == "in force"
        and any(action in g.actions and visit.session.purpose in g.purposes for g in a.mou.grants)
    ]  # fmt: skip


def _kinds(visit: Visit, mous: list[Agreement]) -> list[tuple[str, str]]:
    """The categories that some grant may show, with their words; all of them where a grant does not say."""
    field = visit.called.shared(DATASET).dataset.field("category")
    known = sorted(field.choices or ()) if field else []
    named: set[str] = set()
    for grant in (g for a in mous for g in a.mou.grants if visit.session.purpose in g.purposes):
        tested = [c.argument for c in grant.where if c.field == "category" and c.word == "one_of"]
        named |= set(known).intersection(*map(set, tested)) if tested else set(known)
    return [(word, words.category(word)) for word in known if word in named]


def _vocabulary(visit: Visit) -> str:
    """Words for the script: of each field, and of each way it can be shown. JSON."""
    said = {}
    grants = [g for a in _mous(visit) for g in a.mou.grants]
    for field in visit.called.shared(DATASET).dataset.fields:
        ways = {CLEAR, *(Treatment("grid_m", str(m)) for m in TIERS if field.kind == "place")}
        ways |= {Treatment("round_to", step) for step in ROUND_TO if field.kind == "time"}
        ways |= {t for g in grants if (t := g.treatment(field.name)).shows}
        said[field.name] = {"words": words.field_words(field.name), "ways": {str(t): words.treatment_words(field, t) for t in ways}}
    return orjson.dumps(said).decode()


def _named(visit: Visit, number: str | None) -> SharedMap | None:
    return visit.called.maps.get(_id(number)) if number else None


def _found(visit: Visit, number: str) -> SharedMap:
    found = visit.called.maps.get(_id(number))
    if found is None:
        raise NoSuchResource("This shared map is not there; whoever shared it may have deleted it.")
    return found


def _id(text: str) -> UUID:
    try:
        return UUID(text) if re.fullmatch(r"[0-9a-f-]{36}", text) else UUID(int=0)
    except ValueError:
        return UUID(int=0)


def _told(shared_map: SharedMap) -> str:
    """A shared map's question in words."""
    question = shared_map.query
    kinds = _in_words("category", question.get("filters", {}).get("category", ""))
    time = _in_words("datetime", question.get("datetime", ""))
    return f"{kinds or 'all kinds'}; {time or 'any time'}"


def _in_words(name: str, value: str) -> str:
    """A parameter's value for people: kinds as words, the days of an interval, an open end as one."""
    if name == "category":
        return ", ".join(words.category(word) for word in value.split(",") if word)
    if name == "datetime" and "/" in value:
        since, until = (end if end == ".." else end[:10] for end in value.split("/", 1))
        return f"from {since} until {until}" if ".." not in (since, until) else f"until {until}" if since == ".." else f"from {since}"
    return value.replace(",", ", ")


def _static(text: str, media: str) -> Response:
    return Response(text, 200, {**HEADERS, "Cache-Control": "no-cache"}, media)


def pages() -> Pages:
    routes = Pages()
    routes.get("/map", page)
    routes.get("/map/page.js", script)
    routes.get("/map/page.css", style)
    routes.post("/map/export", export)
    routes.get("/maps", shared)
    routes.post("/maps", share)
    routes.get("/maps/{id}", open_shared)
    routes.post("/maps/{id}/delete", forget)
    return routes
