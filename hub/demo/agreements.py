"""The demo's agreements come into force as others do: proposed, signed by both parties, compared, activated. The demo is all of the
parties: their keys lie beside the profiles.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from hub.agreements.document import render
from hub.agreements.files import check
from hub.agreements.lifecycle import Lifecycle
from hub.agreements.party_keys import PartyKeys
from hub.agreements.store import Actor, Version
from hub.audit.leaf import By
from hub.datasets import DATASETS
from hub.db import Database
from hub.demo.boundaries import POLICIES
from hub.errors import Conflict, NoSuchResource
from hub.identity.party_keys import OFFER, STATEMENT, new_key, offer, public_of, sign
from hub.policy.mou import Mou

OPERATOR = Actor(None, By(client="demo"))


def set_up(database: Database, folder: Path) -> None:
    """Brings every agreement of the demo into force that is not; `folder` holds the parties' keys. What was cut off goes on."""

    def clock() -> datetime:
        return datetime.now(UTC)

    lifecycle = Lifecycle(database.agreements, DATASETS, partial(render, datasets=DATASETS), clock)
    keys = PartyKeys(database.agreements, clock)
    for path in sorted(POLICIES.glob("*.yaml")):
        mou, _ = check(path, DATASETS)
        if not any(v.state in ("active", "suspended") for v in _known(lifecycle, mou)):
            lifecycle.finish(_activated(lifecycle, keys, mou, path.parent, folder))


def _known(lifecycle: Lifecycle, mou: Mou) -> Iterator[Version]:
    with suppress(NoSuchResource):
        yield lifecycle.get(OPERATOR, mou.mou, mou.version)


def _activated(lifecycle: Lifecycle, keys: PartyKeys, mou: Mou, boundaries: Path, folder: Path) -> Version:
    """The steps that are left until it comes into force."""
    named, provider = (mou.mou, mou.version), _actor(mou.parties.provider)
    state = next((v.state for v in _known(lifecycle, mou)), "absent")
    if state in ("absent", "draft"):
        for pinned in mou.jurisdictions.values():
            lifecycle.keep_boundary(provider, pinned.sha256, (boundaries / pinned.file).read_bytes())
        lifecycle.draft(provider, mou.source)
        state = lifecycle.propose(provider, *named).state
    if state == "proposed":
        for slug in (mou.parties.provider, mou.parties.consumer):
            signature = sign(_key(keys, slug, folder), None, lifecycle.statement(_actor(slug), *named), STATEMENT)
            state = lifecycle.sign(_actor(slug), *named, signature).state
    if state == "signed":
        lifecycle.activate(provider, *named, sha256(lifecycle.diff(provider, *named)).hexdigest())
    return lifecycle.get(OPERATOR, *named)


def _key(keys: PartyKeys, slug: str, folder: Path) -> bytes:
    """The private key of a party of the demo, made, offered and confirmed on first use."""
    path = folder / f"{slug}-signs.pem"
    with suppress(FileExistsError):
        new_key(path, None)
    pem = path.read_bytes()
    public, jwk = public_of(pem, None)
    with suppress(Conflict):  # it is known
        keys.offer(_actor(slug), public, sign(pem, None, offer(slug, jwk), OFFER))
    keys.confirm(OPERATOR, jwk["kid"])
    return pem


def _actor(slug: str) -> Actor:
    return Actor(slug, By(slug, client="demo"))
