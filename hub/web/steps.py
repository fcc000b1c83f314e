"""The agreement lead's pages: draft a version, see where it stands, compare, sign with what the command line made, bring into force,
suspend, end. Each step is the same as over HTTP (hub/agreements/lifecycle.py), as the lead's own organisation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.agreements.lifecycle import PATIENCE_S, Lifecycle
from hub.agreements.store import Actor, Version, number_of
from hub.errors import Conflict, HubError, InvalidPolicy, InvalidRequest, NoSuchResource
from hub.web.audit_words import treatment as words_of
from hub.web.shell import HEADERS, Pages, Visit, form_of, go, render, visit_of

LEAD = "agreement-lead"
HERE = "/agreements/{mou}/versions/{version}"


@dataclass(frozen=True, slots=True)
class Offer:
    """A step that a lead may take now; `field` is what they fill in, with its label, None: nothing."""

    step: str
    button: str
    says: str
    field: str | None = None
    danger: bool = False


SUSPEND = Offer("suspend", "Suspend", "From the next look on it gives nothing. You alone can resume it.", "Why")
TERMINATE = Offer("terminate", "End it for good", "It gives nothing any more; a new agreement would be needed.", "Why", True)
WITHDRAW = Offer("withdraw", "Withdraw", "Takes this version back. Its number is used up.", None, True)
PROPOSE = Offer("propose", "Propose", "Fixes its text, and makes the document that people read before they sign.")
SIGN = Offer(
    "sign",
    "Sign",
    "Save the statement, sign it where your organisation's key is (hub mou sign --statement FILE), and paste what that prints.",
    "Signature",
)
COMPARE = Offer(
    "compare", "Compare", "Counts on the records that are there now who gains and loses what. Then you can bring it into force."
)
RESUME = Offer("resume", "Resume", "It gives again.")


def draft(request: Request) -> Response:
    visit = visit_of(request, LEAD)
    return render(request, "agreement_draft.html", visit, text="", problems=())


def keep(request: Request, body: bytes) -> Response:
    """Keeps the text as a draft; what is wrong with it is told beside it, and nothing is lost."""
    visit = visit_of(request, LEAD)
    text = form_of(request, visit, body).get("text", "").replace("\r\n", "\n")
    try:
        found = _lifecycle(visit).draft(_actor(visit, request), text.encode())
    except (InvalidPolicy, Conflict, InvalidRequest) as error:
        problems = [(p.field, p.reason) for p in error.problems] or [("", error.detail)]
        return render(request, "agreement_draft.html", visit, error.status, text=text, problems=problems)
    return go(_address(found))


def version(request: Request) -> Response:
    visit = visit_of(request, LEAD)
    return _page(request, visit, _found(request, visit))


def part(request: Request) -> Response:
    """The file, the document, or the statement, to be saved."""
    visit = visit_of(request, LEAD)
    found, wanted = _found(request, visit), request.path_params["part"]
    named = (_actor(visit, request), found.mou, found.version)
    parts: dict[str, tuple[str, Callable[[], bytes]]] = {
        "source.yaml": ("application/yaml", lambda: found.source.encode()),
        "document.pdf": ("application/pdf", lambda: _lifecycle(visit).document(*named)),
        "statement.json": ("application/json", lambda: _lifecycle(visit).statement(*named)),
    }
    if wanted not in parts:
        raise NoSuchResource("A version has no such part.")
    media, content = parts[wanted]
    disposition = {"Content-Disposition": f'attachment; filename="{found.mou}-{found.version}-{wanted}"'}
    return Response(content(), 200, HEADERS | disposition, media)


def take(request: Request, body: bytes) -> Response:
    """Takes a step. What is refused is told on the page of the version."""
    visit = visit_of(request, LEAD)
    fields = form_of(request, visit, body)
    found, step = _found(request, visit), request.path_params["step"]
    actor, life = _actor(visit, request), _lifecycle(visit)
    named = (actor, found.mou, found.version)
    steps: dict[str, Callable[[], object]] = {
        "propose": lambda: life.propose(*named),
        "sign": lambda: life.sign(*named, "".join(fields.get("value", "").split())),
        "activate": lambda: life.finish(life.activate(*named, fields.get("diff", "")), PATIENCE_S),
        "suspend": lambda: life.suspend(*named, _reason(fields)),
        "resume": lambda: life.resume(*named),
        "terminate": lambda: life.terminate(*named, _reason(fields)),
        "withdraw": lambda: life.withdraw(*named),
    }
    try:
        if step == "compare":
            effect = life.diff(*named)
            return _page(request, visit, found, effect=effect)
        if step not in steps:
            raise NoSuchResource("There is no such step.")
        steps[step]()
    except (Conflict, InvalidRequest, InvalidPolicy) as error:
        return _page(request, visit, found, error)
    return go(f"{_address(found)}?done={step}")


def _reason(fields: dict[str, str]) -> str:
    reason = fields.get("value", "").strip()
    if not 0 < len(reason) <= 500:
        raise InvalidRequest("Say why, in at most 500 characters: the other party reads it.")
    return reason


def _page(request: Request, visit: Visit, found: Version, error: HubError | None = None, effect: bytes | None = None) -> Response:
    mine = visit.person.organisation.slug
    return render(
        request,
        "agreement_version.html",
        visit,
        error.status if error else 200,
        found=found,
        state=found.state_at(visit.called.clock()),
        error=error.detail if error else None,
        done=request.query_params.get("done") in DONE,
        signed={s["party"] for s in found.signatures},
        offers=list(_offers(found, mine)),
        effect=orjson.loads(effect) if effect else None,
        digest=sha256(effect).hexdigest() if effect else "",
        here=_address(found),
        how=_how,
    )


def _how(treatment: str) -> str:
    return "withheld" if treatment == "withhold" else words_of(treatment)


DONE = frozenset({"propose", "sign", "activate", "suspend", "resume", "terminate", "withdraw"})


def _offers(found: Version, mine: str) -> list[Offer]:
    """The steps that the reader's organisation may take now."""
    signed = mine in {s["party"] for s in found.signatures}
    compare = [COMPARE] if mine == found.provider else []
    return {
        "draft": [PROPOSE, *compare, WITHDRAW],
        "proposed": [*([] if signed else [SIGN]), *compare, WITHDRAW],
        "signed": [*compare, WITHDRAW],
        "activating": [WITHDRAW],
        "active": [SUSPEND, TERMINATE],
        "suspended": [*([RESUME] if found.suspended_by == mine else []), TERMINATE],
    }.get(found.state, [])


def _lifecycle(visit: Visit) -> Lifecycle:
    return visit.called.lifecycle


def _actor(visit: Visit, request: Request) -> Actor:
    return Actor(visit.person.organisation.slug, visit.by(request))


def _found(request: Request, visit: Visit) -> Version:
    named = (request.path_params["mou"], number_of(request.path_params["version"]))
    return _lifecycle(visit).get(_actor(visit, request), *named)


def _address(found: Version) -> str:
    return HERE.format(mou=found.mou, version=found.version)


def pages() -> Pages:
    routes = Pages()
    routes.get("/agreements/draft", draft)
    routes.post("/agreements/draft", keep)
    routes.get(HERE, version)
    routes.get(f"{HERE}/{{part}}", part)
    routes.post(f"{HERE}/{{step}}", take)
    return routes
