"""Agreements in every state of their life, beside those that a batch has: with the same clauses, so that the same records lie on their
edges; and agreements that put one, two or three more grants on a record."""

from collections.abc import Sequence
from datetime import date
from random import Random
from typing import Any

from tests.policy.bands import keep_whole

Mou = dict[str, Any]
Steps = dict[tuple[str, int], str]
# How far each version of an agreement comes, one after the other. Of those in a row, eight have every state.
LIVES = (
    *(("draft",), ("active", "proposed"), ("suspended",), ("active", "withdrawn")),
    *(("active", "active"), ("signed",), ("active", "activating"), ("terminated",)),
    *(("active", "draft"), ("proposed",), ("active", "suspended"), ("withdrawn",)),
    *(("terminated", "active"), ("active", "signed"), ("activating",), ("active", "terminated")),
)
AT_ONCE = 8  # lives in a batch, two for each of four readers


def beside(seed: int, mous: Sequence[Mou], categories: Sequence[str]) -> tuple[list[Mou], Steps]:
    """More agreements, and how far those are brought that don't come into force or don't stay so."""
    rng, found, steps = Random(f"{seed} lives"), [], {}
    providers = sorted({m["parties"]["provider"] for m in mous})
    own = {m["parties"]["consumer"]: m["parties"]["provider"] for m in mous}
    found += [_ladder(f"MOU-{seed}-STEPS-{n}", own[c], c, categories) for n, c in enumerate(sorted(own)) if n % 2]
    for n in range(AT_ONCE):
        consumer, provider = f"side{n // 2}-{seed}", providers[n // 2 % 2]
        if n % 2 == 0:
            found.append(_ladder(f"MOU-{seed}-SIDE-STEPS-{n}", provider, consumer, categories))
        for version, came in enumerate(LIVES[(seed % 2 * AT_ONCE + n) % len(LIVES)], 1):
            own_mous = [m for m in mous if m["parties"]["provider"] == provider]
            # What gives nothing may hold many clauses; what gives, few: the more refuse, the less hangs on one.
            alike = _together(rng.sample(own_mous, min(1 if came == "active" else 4, len(own_mous))))
            parties = {"provider": provider, "consumer": consumer}
            found.append(alike | {"mou": f"MOU-{seed}-SIDE-{n}", "version": version, "parties": parties})
            steps[f"MOU-{seed}-SIDE-{n}", version] = came
    return found, steps


def _together(mous: Sequence[Mou]) -> Mou:
    """One agreement with the clauses of several, in force as the first one is."""
    clauses = {
        kind: [clause | {"id": f"{clause['id']}-{n}"} for n, mou in enumerate(mous) for clause in mou.get(kind, ())]
        for kind in ("grants", "refuse")
    }
    keep_whole(clauses["grants"], clauses["refuse"])
    areas = {name: pinned for mou in mous for name, pinned in mou["jurisdictions"].items()}
    return mous[0] | {"jurisdictions": areas} | {kind: some for kind, some in clauses.items() if some}


def _ladder(name: str, provider: str, consumer: str, categories: Sequence[str]) -> Mou:
    """Records get none of its grants, one, two or three, by their category: so that the reader has them under more grants than the one
    that is looked at, or under others alone. They release next to nothing.
    """
    grants = [
        {
            "id": f"step-{n}",
            "dataset": "incidents",
            "purposes": ["alpha"],
            "actions": ["query"],
            "where": [{"field": "category", "one_of": list(categories[n:])}],
            "fields": {"handling": "clear"},
        }
        for n in (1, 2, 3)
    ]
    return {
        "mou": name,
        "version": 1,
        "title": "Generated",
        "parties": {"provider": provider, "consumer": consumer},
        "in_force": {"from": date(2020, 1, 1), "until": date(2090, 12, 31)},
        "review_by": date(2090, 12, 31),
        "legal_basis": "None; this is a test",
        "jurisdictions": {},
        "grants": grants,
    }
