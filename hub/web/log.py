"""How the log stands, for people who read it: its tree, its witnesses, open alarms. The same is told to everybody at `/audit/log`, so that
looking at it is not logged.
"""

from base64 import b64encode

from starlette.requests import Request
from starlette.responses import Response

from hub.api.parameters import only
from hub.web.audit import READERS, review_of
from hub.web.shell import Pages, render


def state(request: Request) -> Response:
    """The state of the log."""
    review = review_of(request, *READERS)
    only(request, ())
    called = review.visit.called
    found = called.published.state()
    return render(
        request,
        "log.html",
        review.visit,
        base=review.path,
        narrowed=review.only_owner,
        log=found,
        leaf_key=b64encode(found.leaf_key).decode() if found.leaf_key else None,
        late_s=called.settings.witness_alarm_s,
    )


def pages() -> Pages:
    routes = Pages()
    routes.get("/audit/state", state)
    return routes
