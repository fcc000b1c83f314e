"""Replies kept for requests that carry an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): who asks again is told again.

A reply is kept in the transaction of what it tells. Of the key and of the request only keyed hashes are kept: a plain hash of a
short body could be guessed by trying. A reply holds what a receipt does: ids, revisions, external ids.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Engine

from hub.crypto.keys import Keys
from hub.db import Transaction, transaction
from hub.errors import Conflict, HubError, KeyReused, NotAuthenticated

KEPT = timedelta(days=7)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is to be done once: by which client, its key and the whole of it, both hashed."""

    client: str
    key: bytes
    request: bytes


class AnsweredMeanwhile(Exception):
    """The same request was answered by another attempt while this one was under way; nothing of this one is stored."""


class Replies:
    def __init__(self, engine: Engine, keys: Keys) -> None:
        self._engine, self._keys = engine, keys

    def once(self, organisation: UUID, client: str, key: str, request: bytes) -> Once:
        name = f"{client}\0{key}".encode()
        (named,), (whole,) = (
            self._keys.macs(*said) for said in (("idempotency-key", organisation, [name]), ("request", organisation, [request]))
        )
        return Once(client, named, whole)

    def answer(self, once: Once | None, run: Callable[[Callable[[Transaction, T], None] | None], T], reply: Callable[[T], Reply]) -> Reply:
        """The reply to a request that is carried out by `run` unless it was before; `run` calls back before it commits. Refusals
        aren't kept: nothing was written.
        """
        if once is None:
            return reply(run(None))
        known = self.find(once)
        if known is None:
            try:
                return reply(run(lambda tx, done: self.keep(tx, once, reply(done))))
            except AnsweredMeanwhile:
                known = self.find(once)
            except HubError:
                # What was in the way may be the same request's own doing: the other attempt has changed the revision.
                known = self.find(once)
                if known is None:
                    raise
        if known is None:
            raise Conflict("Another attempt at this request is under way; try again.")
        return replace(known, headers={**known.headers, "Idempotency-Replayed": "true"})

    def find(self, once: Once) -> Reply | None:
        """The reply that was given, if it is still kept.

        Raises:
            NotAuthenticated: the client was disabled since.
            KeyReused: the key came before, with another request.
        """
        with transaction(self._engine) as tx:
            kept = "left join hub.replies r on r.client = %s and r.key_mac = %s and r.at >= now() - %s"
            ((active, request, status, headers, body),) = tx.rows(
                f"select a.active, r.request_mac, r.status, r.headers, r.body from hub.admit(%s) a {kept}",
                (once.client, once.client, once.key, KEPT),
            )
        if not active:
            raise NotAuthenticated("This client has been disabled.")
        if request is None:
            return None
        if bytes(request) != once.request:
            raise KeyReused("This Idempotency-Key came with another request; use a new key for a new request.", field="Idempotency-Key")
        return Reply(status, headers, bytes(body))

    def keep(self, tx: Transaction, once: Once, reply: Reply) -> None:
        """Keeps `reply` within `tx`, and lets go of old ones.

        Raises:
            AnsweredMeanwhile
        """
        tx.rows("delete from hub.replies where at < now() - %s", (KEPT,))
        values = (once.client, once.key, once.request, reply.status, orjson.dumps(dict(reply.headers)).decode(), reply.body)
        marks = "%s, %s, %s, %s, %s::jsonb, %s"
        columns = "client, key_mac, request_mac, status, headers, body"
        if not tx.rows(f"insert into hub.replies ({columns}) values ({marks}) on conflict do nothing returning true", values):
            raise AnsweredMeanwhile
