"""The forms of access reviews: what a review is set up with, and what is decided about lines."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from hub.api.parameters import text, whole
from hub.audit.figures import SCOPES
from hub.audit.periods import MONTHS, before, begin_of
from hub.audit.review import Decision, Run
from hub.audit.reviews import DECISIONS, MAX_DAYS, SetUp
from hub.errors import InvalidRequest
from hub.identity.people import Person
from hub.web.audit import Review

MAX_SCOPE = 200
FIRST = {"last": "the last one that is over", "this": "the one that runs now"}


def reviewers(review: Review) -> list[Person]:
    """Whom of the visitor's organisation a review can be assigned to."""
    called, slug = review.visit.called, review.visit.person.organisation.slug
    now = called.clock()
    return [p for p in called.directory.people(slug) if "auditor" in p.roles and not p.disabled(now)]


def assignee_in(review: Review, fields: Mapping[str, str]) -> UUID:
    """Raises InvalidRequest: nobody of the organisation with the role auditor is chosen."""
    chosen = next((p.id for p in reviewers(review) if str(p.id) == fields.get("assignee")), None)
    if chosen is None:
        raise InvalidRequest("Choose who reviews: a person of your organisation with the role auditor.", field="assignee")
    return chosen


def set_up_in(review: Review, fields: Mapping[str, str]) -> SetUp:
    """Raises InvalidRequest: a field makes no sense; `field` says which."""
    every, now = fields.get("every", ""), review.visit.called.clock()
    if every not in MONTHS:
        raise InvalidRequest(f"How often is one of: {', '.join(MONTHS)}.", field="every")
    if fields.get("first", "last") not in FIRST:
        raise InvalidRequest("The first period is the last one or this one.", field="first")
    begin = begin_of(now, every)
    return SetUp(
        fields.get("title", "").strip(),
        _scope(review, fields),
        every,
        whole("within_days", fields.get("within_days", ""), 1, MAX_DAYS),
        assignee_in(review, fields),
        begin if fields.get("first") == "this" else before(begin, every),
    )


def _scope(review: Review, fields: Mapping[str, str]) -> dict[str, str]:
    """An owner reviews the accesses to its own data, and no others."""
    found = {name: text(name, value.strip()) for name in SCOPES if (value := fields.get(name, "")).strip()}
    if any(len(value) > MAX_SCOPE or not value.isprintable() for value in found.values()):
        raise InvalidRequest(f"What is reviewed is named in at most {MAX_SCOPE} printable characters.", field="scope")
    return found if review.only_owner is None else found | {"owner": review.only_owner}


def decisions_in(run: Run, lines: Sequence[int], fields: Mapping[str, str]) -> list[Decision]:
    """What the form decides anew about the lines that it shows.

    Raises:
        InvalidRequest: a line has a note and no decision.
    """
    found = []
    for line in lines:
        decision, note = fields.get(f"decision-{line}", ""), fields.get(f"note-{line}", "").strip()
        if note and decision not in DECISIONS:
            raise InvalidRequest(f"Line {line} has a note and no decision.", field=f"decision-{line}")
        known = run.decisions.get(line)
        if decision and (known is None or (known.decision, known.note) != (decision, note)):
            found.append(Decision(line, decision, note))
    return found
