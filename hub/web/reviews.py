"""Access reviews for people: set up, assigned, decided line by line, signed off, and taken away as a PDF. For auditors of the hub, and for
owners about their own data. Reading one is logged before it is shown, and so is each step.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from hub.api import reviews as api
from hub.api.parameters import only, record_id, whole
from hub.audit.periods import named
from hub.audit.review import Run
from hub.audit.reviews import DECISIONS
from hub.errors import Conflict, Forbidden, HubError, InvalidRequest, NoSuchResource
from hub.reports import access_review
from hub.web import review_form as form
from hub.web.audit import READERS, Review, review_of
from hub.web.audit_form import offers
from hub.web.flags import KINDS
from hub.web.shell import HEADERS, Pages, form_of, go, render

LINES = 20  # on a page: one form decides about all of them
EVERY = {"month": "each month", "quarter": "each quarter", "half-year": "each half-year", "year": "each year"}
MINUTE = "%Y-%m-%dT%H:%M"  # as the form of the log takes it
RUN = "/reviews/runs/{run}"
DONE = {
    "set-up": "The review is set up. A run of it is opened when its period is over, in a few seconds if it is over already.",
    "assigned": "From now on somebody else reviews.",
    "ended": "The review has ended. What is open can still be signed off.",
    "decided": "What you decided is kept.",
    "signed": "The review is signed off. Nothing of it changes any more.",
}


def reviews(request: Request) -> Response:
    """The runs and the reviews of the visitor's organisation."""
    review = review_of(request, *READERS)
    only(request, ("done",))
    return _overview(request, review)


def set_up(request: Request, body: bytes) -> Response:
    """Sets a review up; what is wrong with it is told on the page, and nothing is lost."""
    review = review_of(request, *READERS)
    fields = form_of(request, review.visit, body)
    try:
        review.visit.called.reviews.set_up(review.by, form.set_up_in(review, fields))
    except InvalidRequest as error:
        return _overview(request, review, error, fields)
    return go("/reviews?done=set-up")


def assign(request: Request, body: bytes) -> Response:
    """Gives a review to somebody else."""
    review = review_of(request, *READERS)
    fields, number = form_of(request, review.visit, body), record_id(request.path_params["review"])
    try:
        _tried(review, lambda: review.visit.called.reviews.assign(review.by, number, form.assignee_in(review, fields)))
    except InvalidRequest as error:
        return _overview(request, review, error)
    return go("/reviews?done=assigned")


def end(request: Request, body: bytes) -> Response:
    """Has no run opened any more."""
    review = review_of(request, *READERS)
    form_of(request, review.visit, body)
    number = record_id(request.path_params["review"])
    _tried(review, lambda: review.visit.called.reviews.end(review.by, number))
    return go("/reviews?done=ended")


def run(request: Request) -> Response:
    """One run: a page of its lines."""
    review = review_of(request, *READERS)
    given = only(request, ("page", "done"))
    page = whole("page", given.get("page", "1"), 1, 10_000)
    return _page(request, review, _read(request, review), page)


def decide(request: Request, body: bytes) -> Response:
    """Keeps what was decided about the lines of a page."""
    review = review_of(request, "auditor")
    fields = form_of(request, review.visit, body)
    found, page = _read(request, review), whole("page", fields.get("page", "1"), 1, 10_000)
    lines = [line["line"] for line in found.lines[(page - 1) * LINES : page * LINES]]
    try:
        decided = form.decisions_in(found, lines, fields)
        if decided:
            _tried(review, lambda: review.visit.called.reviews.decide(review.by, found.id, decided))
    except (Conflict, InvalidRequest) as error:
        return _page(request, review, found, page, error, fields)
    return go(f"{_address(found)}?page={page}&done=decided")


def sign(request: Request, body: bytes) -> Response:
    """Signs a run off, for good."""
    review = review_of(request, "auditor")
    fields = form_of(request, review.visit, body)
    found = _read(request, review)
    try:
        if "seen" not in fields:
            raise InvalidRequest("Say that you have looked at every line.", field="seen")
        _tried(review, lambda: review.visit.called.reviews.sign(review.by, found.id))
    except (Conflict, InvalidRequest) as error:
        return _page(request, review, found, 1, error)
    return go(f"{_address(found)}?done=signed")


def document(request: Request) -> Response:
    """A signed run as a PDF."""
    review = review_of(request, *READERS)
    only(request, ())
    return api.pdf(review.visit.called, _read(request, review), HEADERS)


def _read(request: Request, review: Review) -> Run:
    """The run that the path names, once it is in the log that it is read.

    Raises:
        NoSuchResource: there is none, or it is another organisation's; logged.
    """
    return api.opened(review.visit.called, review.by, record_id(request.path_params["run"]), review.visit.person.organisation.slug)


def _tried(review: Review, step: Callable[[], object]) -> None:
    """Takes a step. That it isn't for this person, or that there is no such review, is logged before it is told."""
    try:
        step()
    except (Forbidden, NoSuchResource) as error:
        decision = "refuse" if isinstance(error, Forbidden) else "absent"
        called = review.visit.called
        called.log.record(called.event("review", review.by, decision, reason=error.detail if decision == "refuse" else None))
        raise


def _overview(request: Request, review: Review, error: HubError | None = None, fields: dict[str, str] | None = None) -> Response:
    visit, whole_log = review.visit, review.only_owner is None
    slug, now = visit.person.organisation.slug, visit.called.clock()
    runs, there = api.listed(visit.called, review.by, slug), visit.called.reviews.of(slug)
    return render(
        request,
        "reviews.html",
        visit,
        error.status if error else 200,
        problem=error.detail if error else None,
        done=DONE.get(request.query_params.get("done", "")),
        fields=fields or {},
        open_runs=sorted((r for r in runs if r.signed_at is None), key=lambda r: r.due_at),
        signed_runs=[r for r in runs if r.signed_at is not None],
        reviews=there,
        reviewers=form.reviewers(review),
        people=_people(review, {r.assignee for r in runs} | {r.assignee for r in there}),
        now=now,
        whole=whole_log,
        collections=[(name, name) for name in sorted(visit.called.datasets)],
        every=EVERY,
        first=form.FIRST,
        scopes=access_review.SCOPES,
        period=named,
        **offers(visit, whole_log, {}, []),
    )


def _page(
    request: Request, review: Review, found: Run, page: int, error: HubError | None = None, fields: dict[str, str] | None = None
) -> Response:
    lines = found.lines[(page - 1) * LINES : page * LINES]
    return render(
        request,
        "review_run.html",
        review.visit,
        error.status if error else 200,
        run=found,
        here=_address(found),
        lines=lines,
        page=page,
        pages=-(-len(found.lines) // LINES) or 1,
        mine=found.assignee == review.visit.person.id and "auditor" in review.visit.roles and found.signed_at is None,
        left=[line["line"] for line in found.lines if line["line"] not in found.decisions],
        problem=error.detail if error else None,
        fields=fields,
        done=DONE.get(request.query_params.get("done", "")),
        names=_people(review, found.people),
        now=review.visit.called.clock(),
        decisions=[(word, access_review.DECISIONS[word]) for word in DECISIONS],
        words=access_review.DECISIONS,
        scopes=access_review.SCOPES,
        kinds=KINDS,
        base=review.path,
        entries={"since": f"{found.since:{MINUTE}}", "until": f"{found.until - timedelta(minutes=1):{MINUTE}}"},
        period=named(found.since, found.review.every),
    )


def _address(found: Run) -> str:
    return RUN.format(run=found.id)


def _people(review: Review, ids: set[UUID]) -> dict[str, str]:
    return {str(id): person.name for id, person in review.visit.called.directory.names(ids).items()} if ids else {}


def pages() -> Pages:
    routes = Pages()
    routes.get("/reviews", reviews)
    routes.post("/reviews", set_up)
    routes.get(RUN, run)
    routes.post(RUN, decide)
    routes.post(f"{RUN}/sign", sign)
    routes.get(f"{RUN}/review.pdf", document)
    routes.post("/reviews/{review}/assign", assign)
    routes.post("/reviews/{review}/end", end)
    return routes
