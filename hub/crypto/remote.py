"""The key process as the rest of the hub sees it: a client of its socket. Sealed fields are opened here, with keys that it lends."""

import queue
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from hub.crypto import messages
from hub.crypto.envelope import Context, FieldKey, open_field
from hub.crypto.keys import Ended, Lookup, NotCovered, Opening, OverLimit, Proof, Sealing, Shredded, Versions
from hub.crypto.messages import Bytes, Failed, Lent, Ready, Reply, Request, Sealed
from hub.errors import HubError, InvalidRequest, NotAuthenticated, Tampered, TooLarge, Unavailable
from hub.leaf_chain import Signed

RETRIES: Final = 5
PAUSE_S: Final = 0.1  # a key process that is started anew is back within a second or two
_R = TypeVar("_R", Ready, Sealed, Bytes, Lent, messages.Confirmed)


class RemoteKeys:
    """`hub.crypto.keys.Keys` over the unix socket at `path`. Thread-safe; a connection is kept for each request that is under way at
    once. Whatever is asked may be asked again, so a key process that was started anew in between is not noticed.
    """

    def __init__(self, path: Path, timeout_s: float = 30) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue()

    def check(self) -> None:
        self._ask(messages.Check(), Ready)

    def seal_batch(self, items: Sequence[Sealing]) -> list[dict[int, bytes]]:
        return self.seal_records(0, items)[0]

    def seal_records(self, dataset: int, items: Sequence[Sealing]) -> tuple[list[dict[int, bytes]], Versions | None]:
        if not items:
            return [], None
        sent = [messages.SealItem(i.owner.bytes, i.record.bytes, i.rev, i.schema, i.bucket, dict(i.fields)) for i in items]
        reply = self._ask(messages.Seal(sent, dataset), Sealed)
        return reply.items, None if reply.versions is None else Versions(*reply.versions)

    def candidates(self, proof: Proof, lookup: Lookup, owners: Sequence[UUID]) -> list[UUID]:
        said, whose = dict(lookup.said), [owner.bytes for owner in owners]
        asked = messages.Ask(proof.token, proof.cookie, lookup.dataset, lookup.field, said, whose)
        return [UUID(bytes=record) for record in self._ask(asked, Bytes).items]

    def confirm(self, proof: Proof, event: UUID, lookup: Lookup, items: Sequence[Opening]) -> tuple[list[bool], Signed]:
        wanted = [messages.Wanted(i.owner.bytes, i.record.bytes, i.rev, i.revision_no, i.cls) for i in items]
        asked = messages.Confirm(proof.token, proof.cookie, event.bytes, lookup.dataset, lookup.field, dict(lookup.said), wanted)
        reply = self._ask(asked, messages.Confirmed)
        return reply.hits, Signed(reply.n, event, reply.leaf_hash, reply.chain, reply.key, reply.signature)

    def open_batch(self, proof: Proof, event: UUID, dataset: int, items: Sequence[Opening]) -> tuple[list[bytes], Signed]:
        places: dict[tuple[UUID, UUID, int, int, int], int] = {}
        chosen = [places.setdefault((i.owner, i.record, i.rev, i.revision_no, i.cls), len(places)) for i in items]
        wanted = [messages.Wanted(owner.bytes, record.bytes, rev, number, cls) for owner, record, rev, number, cls in places]
        asked = messages.Open(proof.token, proof.cookie, event.bytes, dataset, wanted)
        reply = self._ask(asked, Lent)
        lent = [FieldKey(key) for key in reply.items]
        contexts = [Context(w.owner, w.record, w.cls, w.rev) for w in wanted]
        opened = [open_field(lent[n], i.blob, contexts[n], i.field, i.schema) for n, i in zip(chosen, items, strict=True)]
        return opened, Signed(reply.n, event, reply.leaf_hash, reply.chain, reply.key, reply.signature)

    def sign(self, event: UUID, hashes: Sequence[bytes]) -> Signed:
        reply = self._ask(messages.Sign(event.bytes, list(hashes)), Lent)
        return Signed(reply.n, event, reply.leaf_hash, reply.chain, reply.key, reply.signature)

    def macs(self, label: str, owner: UUID, data: Sequence[bytes]) -> list[bytes]:
        return self._ask(messages.Macs(label, owner.bytes, list(data)), Bytes).items if data else []

    def literals(self, event: UUID, at: datetime, text: bytes) -> tuple[bytes, bytes]:
        sealed, digest = self._ask(messages.Literals(event.bytes, at.timestamp(), text), Bytes).items
        return sealed, digest

    def seal_note(self, owner: UUID, note: UUID, text: bytes) -> bytes:
        return self._ask(messages.SealNote(owner.bytes, note.bytes, text), Bytes).items[0]

    def open_note(self, proof: Proof, owner: UUID, note: UUID, blob: bytes) -> bytes:
        return self._ask(messages.OpenNote(proof.token, proof.cookie, owner.bytes, note.bytes, blob), Bytes).items[0]

    def close(self) -> None:
        """Ends the connections that are idle."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _ask(self, request: Request, kind: type[_R]) -> _R:
        try:
            message = messages.encode(request)
        except ValueError:
            raise TooLarge("This is more than can be sealed or opened at once.") from None
        reply = self._exchange(message)
        if isinstance(reply, Failed):
            raise _error(reply)
        if not isinstance(reply, kind):
            raise Tampered("The key process gave another kind of answer than was asked for.")
        return reply

    def _exchange(self, message: bytes) -> Reply:
        for attempt in range(RETRIES):
            connection = self._kept()
            try:
                connection = connection or self._connect()
                connection.sendall(message)
                reply = messages.reply_of(_receive(connection))
            except (OSError, EOFError) as error:
                if connection is not None:
                    connection.close()
                if isinstance(error, TimeoutError):
                    break  # it is there and doesn't answer: asking again would only add to its work
                if attempt and not self._idle.qsize():
                    time.sleep(PAUSE_S * attempt)
                continue
            except messages.Malformed:
                if connection is not None:
                    connection.close()
                raise Tampered("The key process gave an answer that can't be read.") from None
            self._idle.put(connection)
            return reply
        raise Unavailable("The key process can't be reached; nothing was stored or opened. Try again shortly.")

    def _kept(self) -> socket.socket | None:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        return None

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        return connection


def _receive(connection: socket.socket) -> bytes:
    return receive(connection, messages.length_of(receive(connection, messages.LENGTH)))


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. Raises EOFError when the other end hangs up before."""
    whole = bytearray(count)
    view, at = memoryview(whole), 0
    while at < count:
        got = connection.recv_into(view[at:])
        if not got:
            raise EOFError
        at += got
    return bytes(whole)


def _error(failed: Failed) -> HubError:
    if failed.slug == Shredded.slug:
        return Shredded({UUID(bytes=record) for record in failed.records})
    known = {kind.slug: kind for kind in (Ended, NotAuthenticated, NotCovered, OverLimit, Unavailable, Tampered, TooLarge)}
    if failed.slug == InvalidRequest.slug:
        return InvalidRequest(failed.detail, field=failed.detail.partition(" ")[0])  # its sentences begin with the member
    return known.get(failed.slug, HubError)(failed.detail)
