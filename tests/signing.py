"""Agreements come into force in tests as they do for partners: drafted, proposed, signed by both, compared, brought into force."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hub.agreements.files import check
from hub.agreements.lifecycle import Lifecycle
from hub.agreements.party_keys import PartyKeys
from hub.agreements.store import Actor, Version
from hub.audit.leaf import By
from hub.datasets import DATASETS
from hub.errors import NoSuchResource
from hub.identity.party_keys import OFFER, STATEMENT, offer, public_of, sign
from hub.policy.mou import Mou

OPERATOR = Actor(None, By(client="test"))


class Clock:
    """The hub's clock in a test: now, unless it is moved."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True)
class Loaded:
    """What came of it: `unchanged` when this very file was in force already; `labelled` records got labels of its clauses."""

    mou: Mou
    unchanged: bool
    labelled: int
    superseded: int | None


@dataclass
class Signing:
    """Both parties of every agreement, with their keys."""

    lifecycle: Lifecycle
    party_keys: PartyKeys
    clock: Clock
    keys: dict[str, bytes] = field(default_factory=dict)

    def load(self, path: Path) -> Loaded:
        """Brings an MOU file into force; what was cut off goes on."""
        mou, _ = check(path, DATASETS)
        provider = _actor(mou.parties.provider)
        with self._in_its_period(mou):
            found = self._found(provider, mou)
            if found is not None and found.state == "active":
                return Loaded(mou, True, 0, None)
            before = [v.version for v in self.lifecycle.list(OPERATOR) if v.mou == mou.mou and v.state in ("active", "suspended")]
            if found is None or found.state != "activating":
                found = self._signed(provider, mou, path.parent)
            return Loaded(mou, False, self.lifecycle.finish(found), before[-1] if before else None)

    def prepare(self, path: Path, until: str = "signed") -> Mou:
        """An MOU file, signed by both parties; or no further than a draft, or than proposed, and then signed by one of them."""
        mou, _ = check(path, DATASETS)
        self._sign(_actor(mou.parties.provider), mou, path.parent, until)
        return mou

    def _signed(self, provider: Actor, mou: Mou, folder: Path) -> Version:
        self._sign(provider, mou, folder)
        effect = self.lifecycle.diff(provider, mou.mou, mou.version)
        return self.lifecycle.activate(provider, mou.mou, mou.version, sha256(effect).hexdigest())

    def _sign(self, provider: Actor, mou: Mou, folder: Path, until: str = "signed") -> None:
        named = (mou.mou, mou.version)
        for pinned in mou.jurisdictions.values():
            self.lifecycle.keep_boundary(provider, pinned.sha256, (folder / pinned.file).read_bytes())
        self.lifecycle.draft(provider, mou.source)
        if until == "draft":
            return
        self.lifecycle.propose(provider, *named)
        for slug in (mou.parties.provider, mou.parties.consumer)[: 1 if until == "proposed" else 2]:
            actor = _actor(slug)
            self.lifecycle.sign(actor, *named, sign(self._key(slug), None, self.lifecycle.statement(actor, *named), STATEMENT))

    def _found(self, actor: Actor, mou: Mou) -> Version | None:
        """The version, if the hub has this very file."""
        with suppress(NoSuchResource):
            found = self.lifecycle.get(actor, mou.mou, mou.version)
            return found if found.sha256 == mou.sha256 else None
        return None

    def _key(self, slug: str) -> bytes:
        """The organisation's private key, made, offered and confirmed when it is needed first."""
        if slug not in self.keys:
            pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            public, jwk = public_of(pem, None)
            self.party_keys.offer(_actor(slug), public, sign(pem, None, offer(slug, jwk), OFFER))
            self.party_keys.confirm(OPERATOR, jwk["kid"])
            self.keys[slug] = pem
        return self.keys[slug]

    @contextmanager
    def _in_its_period(self, mou: Mou) -> Iterator[None]:
        """An agreement that has ended came into force before."""
        before, until = self.clock.ahead, mou.in_force.period[1]
        if until <= self.clock():
            self.clock.ahead = until - datetime.now(UTC) - timedelta(hours=1)
        try:
            yield
        finally:
            self.clock.ahead = before


def _actor(slug: str) -> Actor:
    return Actor(slug, By(slug, client="test"))
