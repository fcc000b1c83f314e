"""What no agreement may say of a number that it releases in bands: what would tell more of it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any


def cuts(condition: Mapping[str, Any], treatment: Any) -> bool:
    """Whether a grant may not ask this: it would tell more of a number than its bands do."""
    if condition["field"] != "severity" or not isinstance(treatment, dict):
        return False
    edges: list[int] = treatment["bands"]
    if "one_of" in condition:
        asked = set(condition["one_of"])
        return asked != set().union(*(band for low, high in pairwise(edges) if (band := set(range(low, high))) <= asked))
    return condition.get("at_least", condition.get("at_most", 0) + 1) not in edges


def keep_whole(grants: Sequence[Mapping[str, Any]], refusals: Sequence[dict[str, Any]]) -> None:
    """Takes out of the refusals of an agreement what would cut through a band of its grants."""
    for refusal in refusals:
        where = [] if refusal["where"] == "everything" else refusal["where"]
        kept = [c for c in where if not any(cuts(c, g["fields"].get("severity")) for g in grants)]
        refusal["where"] = kept or ("everything" if "fields" in refusal else [{"field": "category", "one_of": ["theft"]}])
