"""Who gets a record now, under which clause of which agreement, and why others don't: for people of its owner, and for auditors.

It tells what `GET /collections/{dataset}/items/{id}/trace` answers, asked by the same function and logged by it.
"""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.api.audit import traced
from hub.api.parameters import only, record_id
from hub.web.audit import READERS, review_of
from hub.web.shell import Pages, render
from hub.web.trace_words import Telling

HERE = "/audit/records/{dataset}/{id}"


def trace(request: Request) -> Response:
    """One record. One that is absent and one of another owner are one answer."""
    review = review_of(request, *READERS)
    only(request, ())
    called, now = review.visit.called, review.visit.called.clock()
    shared = called.shared(request.path_params["dataset"])
    record = record_id(request.path_params["id"])
    found = orjson.loads(traced(called, review.by, shared, record, review.only_owner, now))
    names = {organisation.slug: organisation.name for organisation in called.directory.organisations()}
    agreements = called.agreements.of(None if review.only_owner is None else review.visit.person.organisation.id)
    partners = Telling(found, agreements, names, shared.dataset).partners()
    return render(
        request,
        "trace.html",
        review.visit,
        base=review.path,
        narrowed=review.only_owner,
        record=found["id"],
        provider=names.get(found["provider"], found["provider"]),
        dataset=shared.name,
        at=now,
        partners=partners,
        seeing=sum(bool(partner.shares) for partner in partners),
    )


def pages() -> Pages:
    routes = Pages()
    routes.get(HERE, trace)
    return routes
