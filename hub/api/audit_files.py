"""Taking the log away as a file, however long: CSV or NDJSON, under the hub's names or OCSF's, streamed some leaves at a time.

Each part is in the log before it leaves, and is asked for while whoever asked may still read the log. Where either fails, the answer
ends in the middle, without the chunk that ends it (RFC 9112 §7.1): a file that is not whole is seen to be none.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.api import audit_csv, ocsf
from hub.api.answers import NO_STORE
from hub.api.audit import FILTERS, allowed, one_of, search_of
from hub.api.parameters import only
from hub.api.services import READ, Services, authorise, refusals_logged, services
from hub.audit.leaf import By
from hub.audit.log import Entry, Search
from hub.identity.people import Named
from hub.identity.tokens import AccessToken

CHUNK = 1_000  # leaves
NAMES = ("hub", "ocsf")
Names = Mapping[UUID, Named]


@dataclass(frozen=True)
class Form:
    """How leaves are written: what stands before them, and some of them. `ocsf`: under its names."""

    media_type: str
    head: Callable[[bool], str]
    lines: Callable[[Iterable[Entry], Names, bool], str]


def _columns(ocsf_names: bool) -> str:
    named = [*ocsf.FIXED, *map(ocsf.attribute, audit_csv.COLUMNS)]
    return audit_csv.header(named if ocsf_names else audit_csv.COLUMNS)


def _rows(entries: Iterable[Entry], names: Names, ocsf_names: bool) -> str:
    if ocsf_names:
        return audit_csv.lines(_attributes(entry, names).values() for entry in entries)
    return audit_csv.lines(audit_csv.cells(entry, names) for entry in entries)


def _objects(entries: Iterable[Entry], names: Names, ocsf_names: bool) -> str:
    if ocsf_names:
        return "".join(f"{orjson.dumps(ocsf.nested(_attributes(entry, names))).decode()}\n" for entry in entries)
    # The leaf's own text, not a rewritten one: its hash is over these bytes.
    return "".join(f'{{"id":{e.id},"hash":"{e.hash}","leaf":{e.text}}}\n' for e in entries)


def _attributes(entry: Entry, names: Names) -> dict[str, Any]:
    return ocsf.attributes(dict(zip(audit_csv.COLUMNS, audit_csv.cells(entry, names), strict=True)))


FORMS = {
    "csv": Form("text/csv; charset=utf-8; header=present", _columns, _rows),
    "ndjson": Form("application/x-ndjson", lambda _: "", _objects),
}


@dataclass(frozen=True)
class Taking:
    """Who takes what: a `search` that is allowed and logged, of a form of FORMS. `fields`: the names of what it was filtered by."""

    called: Services
    token: AccessToken
    by: By
    search: Search
    form: str
    ocsf: bool
    fields: Collection[str]

    def answer(self, headers: Mapping[str, str], head: bool) -> Response:
        """The file; to a HEAD its headers, and nothing is read.

        Raises:
            Unavailable: the log can't be read just now.
        """
        media_type = FORMS[self.form].media_type
        if head:
            return Response(None, 200, dict(headers), media_type)
        found = self.called.log.find(replace(self.search, limit=CHUNK))
        return StreamingResponse(self._parts(found), 200, dict(headers), media_type)

    def _parts(self, found: list[Entry]) -> Iterator[str]:
        form = FORMS[self.form]
        yield form.head(self.ocsf)
        while found:
            yield form.lines(found, self.called.directory.names(audit_csv.people_in(found)), self.ocsf)
            if len(found) < CHUNK:
                return
            with refusals_logged(self.called, self.token, self.by):
                self.called.log.scope_of(self.token.organisation, self.token.client_id)
            found = self.called.log.find(replace(self.search, limit=CHUNK, before=found[-1].id))
            said = {"as": self.form, "fields": sorted(self.fields), "page": "next"}
            self.called.log.record(self.called.event("audit", self.by, "permit", asked=said, purpose=self.token.purpose))


def csv(request: Request) -> Response:
    return _taken(request, "csv")


def ndjson(request: Request) -> Response:
    return _taken(request, "ndjson")


def _taken(request: Request, form: str) -> Response:
    called = services(request)
    token, by = authorise(request, "audit")
    given = only(request, (*FILTERS, "names"))
    in_ocsf = names_in(given)
    search = search_of(given)
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)
    search = allowed(called, by, search, given, only_owner, token.purpose, **{"as": form})
    return Taking(called, token, by, search, form, in_ocsf, given).answer(NO_STORE, request.method == "HEAD")


def names_in(given: Mapping[str, str]) -> bool:
    """Whether OCSF's names are asked for.

    Raises:
        InvalidRequest: others are.
    """
    return one_of("names", given.get("names", NAMES[0]), NAMES) == "ocsf"


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/audit/events.csv", csv, methods=READ)
    routes.add_api_route("/audit/events.ndjson", ndjson, methods=READ)
    return routes
