"""Who reads, for which purpose, and to do what with it."""

from dataclasses import dataclass
from typing import Literal

from hub.audit.leaf import By
from hub.crypto.keys import NO_PROOF, Proof

Action = Literal["query", "export", "count", "match"]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads, and for which purpose: from the access token or the session. What it may see is looked up at each query, among the
    grants that allow `action`. `case` is the reference of the case that the reader works on; some grants hold only with one. `proof` is
    what it brought: the key process looks at it before it lends a key.
    """

    organisation: int
    client: str
    purpose: str
    by: By
    case: str | None = None
    action: Action = "query"
    proof: Proof = NO_PROOF
