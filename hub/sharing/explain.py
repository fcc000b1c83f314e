"""Why a record looks as it does: for each field how it is released and by which grants, or by which refusals it is held back. Names only
what is open to this reader on this record: no other agreement, and nothing of what would have to change.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from hub.audit.leaf import instant
from hub.policy.treatments import WITHHOLD
from hub.records import Record
from hub.sharing.disclosure import finest
from hub.sharing.live import LiveGrant, LiveRefusal, Policy


def explanation(dataset: type[Record], policy: Policy, clauses: tuple[int, ...], feature: str) -> str:
    """JSON: the feature, its fields in the order of the catalogue, and the MOUs they come under. `clauses` are the grants that release
    this record now, and the refusals that hold some of its fields back.
    """
    live = [policy.grants[c] for c in clauses if c in policy.grants]
    refusals = [policy.refusals[c] for c in clauses if c in policy.refusals]
    fields = [_field(name, live, refusals, str(finest(policy, clauses, name))) for name in (f.name for f in dataset.fields)]
    return orjson.dumps({"feature": orjson.Fragment(feature), "fields": fields, "mous": _mous(policy, [*live, *refusals])}).decode()


def _field(name: str, live: Sequence[LiveGrant], refusals: Sequence[LiveRefusal], treatment: str) -> dict[str, Any]:
    """A field, and the grants that release it this finely; none where it is withheld: then the refusals, if it was for one."""
    giving = [g for g in live if treatment != str(WITHHOLD) and str(g.treatment(name)) == treatment]
    holding = [r for r in refusals if r.holds_back(name)]
    said: dict[str, Any] = {
        "name": name,
        "treatment": treatment,
        "under": [{"mou": g.mou, "version": g.version, "grant": g.name} for g in giving],
    }
    return said | ({"refused": [{"mou": r.mou, "version": r.version, "refusal": r.name} for r in holding]} if holding else {})


def _mous(policy: Policy, live: Sequence[LiveGrant | LiveRefusal]) -> list[dict[str, Any]]:
    """`until` is the first moment at which the MOU is no longer in force."""
    known = {c.mou: {"mou": c.mou, "version": c.version, "provider": policy.names[c.provider], "until": instant(c.until)} for c in live}
    return [known[name] for name in sorted(known)]
