"""The keys that parties sign with, as the hub keeps them: offered by the party, which proves that it holds them; confirmed by an operator,
who has compared the thumbprint with the party by another way than the hub; revoked by either. The hub never has a private half.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Engine

from hub.agreements.store import Actor
from hub.audit.leaf import Event, Share, event_id
from hub.audit.log import append
from hub.db import Transaction, transaction
from hub.errors import Conflict, Forbidden, NoSuchResource
from hub.identity.party_keys import OFFER, check, offer, read_party_key

_KEYS = """
select k.kid, o.slug, k.jwk, k.offered_at, k.confirmed_at, k.revoked_at
from hub.party_keys k join hub.organisations o on o.id = k.organisation"""


@dataclass(frozen=True, slots=True)
class PartyKey:
    """A public key of a party; `kid` is its RFC 7638 thumbprint."""

    kid: str
    organisation: str
    jwk: dict[str, str]
    offered_at: datetime
    confirmed_at: datetime | None
    revoked_at: datetime | None

    @property
    def state(self) -> str:
        return "revoked" if self.revoked_at else "confirmed" if self.confirmed_at else "offered"


class PartyKeys:
    """Safe to use from several threads. `engine` is that of hub_agreements."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine, self._clock = engine, clock

    def list(self, actor: Actor) -> list[PartyKey]:
        """The keys of the actor's organisation; the operator's: all."""
        with transaction(self._engine) as tx:
            return _keys(tx, "(%s is null or o.slug = %s) order by k.offered_at", (actor.organisation, actor.organisation))

    def offer(self, actor: Actor, key: str, proof: str) -> PartyKey:
        """Takes a public key (JWK or PEM) of the actor's organisation; `proof` is a detached JWS that it made over its own offer.

        Raises:
            InvalidRequest: the key or the proof is not acceptable. Conflict: the key is known already. Forbidden: an operator offers none.
        """
        if actor.organisation is None:
            raise Forbidden("A party offers its own keys; the operator confirms them.")
        jwk = read_party_key(key)
        check(proof, OFFER, offer(actor.organisation, jwk), jwk)
        with transaction(self._engine) as tx:
            added = tx.rows(
                "begin; insert into hub.party_keys (kid, organisation, jwk, proof, offered_at)"
                " select %s, o.id, %s::jsonb, %s, %s from hub.organisations o where o.slug = %s on conflict do nothing returning kid",
                (jwk["kid"], orjson.dumps(jwk).decode(), proof, self._clock(), actor.organisation),
            )
            if not added:
                raise Conflict(f"The key {jwk['kid']} is known already.")
            return self._done(tx, actor, jwk["kid"], "offered")

    def confirm(self, actor: Actor, kid: str) -> PartyKey:
        """Raises Forbidden: not the operator. Conflict: it was revoked. NoSuchResource."""
        if actor.organisation is not None:
            raise Forbidden("An operator of the hub confirms keys.")
        with transaction(self._engine) as tx:
            found = _locked(tx, actor, kid)
            if found.revoked_at:
                raise Conflict(f"The key {kid} was revoked.")
            tx.rows("update hub.party_keys set confirmed_at = coalesce(confirmed_at, %s) where kid = %s", (self._clock(), kid))
            return self._done(tx, actor, kid, "confirmed")

    def revoke(self, actor: Actor, kid: str) -> PartyKey:
        """From now on it signs nothing; agreements in force that it signed stay in force. Raises NoSuchResource."""
        with transaction(self._engine) as tx:
            _locked(tx, actor, kid)
            tx.rows("update hub.party_keys set revoked_at = coalesce(revoked_at, %s) where kid = %s", (self._clock(), kid))
            return self._done(tx, actor, kid, "revoked")

    def _done(self, tx: Transaction, actor: Actor, kid: str, did: str) -> PartyKey:
        (found,) = _keys(tx, "k.kid = %s", (kid,))
        now = self._clock()
        event = Event(event_id(now, os.urandom(10)), "party-key", now, actor.by, "permit", asked={"step": did, "kid": kid})
        append(tx, event, [Share(found.organisation)], then="; commit")
        return found


def _keys(tx: Transaction, where: str, arguments: tuple[str | None, ...]) -> list[PartyKey]:
    return [PartyKey(*row) for row in tx.rows(f"{_KEYS} where {where}", arguments)]


def _locked(tx: Transaction, actor: Actor, kid: str) -> PartyKey:
    tx.rows("begin; select from hub.party_keys where kid = %s for update", (kid,))
    found = [k for k in _keys(tx, "k.kid = %s", (kid,)) if actor.organisation in (None, k.organisation)]
    if not found:
        raise NoSuchResource("Your organisation has no such key here.")
    return found[0]
