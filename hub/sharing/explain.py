"""Why a record looks as it does: for each field how it is released and by which grants. Names only what is open to this reader on
this record: no other agreement, and nothing of what would have to change.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from hub.audit.leaf import instant
from hub.policy.treatments import WITHHOLD
from hub.records import Record
from hub.sharing.disclosure import finest
from hub.sharing.live import LiveGrant, Policy


def explanation(dataset: type[Record], policy: Policy, grants: tuple[int, ...], feature: str) -> bytes:
    """JSON: the feature, its fields in the order of the catalogue, and the MOUs they come under. `grants` are those that release this
    record now.
    """
    live = [policy.grants[g] for g in grants]
    fields = [_field(name, live, str(finest(policy, grants, name))) for name in (f.name for f in dataset.fields)]
    return orjson.dumps({"feature": orjson.Fragment(feature), "fields": fields, "mous": _mous(policy, live)})


def _field(name: str, live: Sequence[LiveGrant], treatment: str) -> dict[str, Any]:
    """A field, and the grants that release it this finely; none where it is withheld."""
    giving = [g for g in live if treatment != str(WITHHOLD) and str(g.treatment(name)) == treatment]
    return {
        "name": name,
        "treatment": treatment,
        "under": [{"mou": g.mou, "version": g.version, "grant": g.name} for g in giving],
    }


def _mous(policy: Policy, live: Sequence[LiveGrant]) -> list[dict[str, Any]]:
    """`until` is the first moment at which the MOU is no longer in force."""
    known = {g.mou: {"mou": g.mou, "version": g.version, "provider": policy.names[g.provider], "until": instant(g.until)} for g in live}
    return [known[name] for name in sorted(known)]
