"""The socket of the key process: who may speak there, what may be said, and that a restart of either side is not noticed."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from hub.crypto import messages
from hub.crypto.keys import Sealing
from hub.crypto.messages import Bytes, Failed, Ready, Sealed
from hub.crypto.remote import RemoteKeys, receive
from hub.errors import Refused, Tampered, TooLarge, Unavailable
from hub.setup import keyd_socket
from hub.workers import keyd as process
from hub.workers.keyd import Keyd
from tests.world import World, keyd, socket_folder


@pytest.fixture
def keys(world: World) -> Iterator[RemoteKeys]:
    made = RemoteKeys(keyd_socket(world.settings), timeout_s=5)
    yield made
    made.close()


def connected(world: World) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(str(keyd_socket(world.settings)))
    return connection


def answer_of(connection: socket.socket) -> messages.Reply:
    return messages.reply_of(receive(connection, messages.length_of(receive(connection, messages.LENGTH))))


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff",
        (messages.MAX_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\0",
        b"\0\0\0\x01\xc1",
        b"\0\0\0\x05hello",
        b"\0\0\0\x08" + b"\x92\xa5check\x01",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["longest", "too long", "empty", "no MessagePack", "a text", "too much", "HTTP"],
)
def test_what_is_no_message_is_hung_up_on_and_the_next_is_answered(world: World, keys: RemoteKeys, sent: bytes) -> None:
    with connected(world) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # of what came after it
            assert connection.recv(100) == b""
    keys.check()


def test_half_a_message_keeps_nobody_waiting(world: World, keys: RemoteKeys) -> None:
    whole = messages.encode(messages.Check())
    with connected(world) as first, connected(world) as second:
        first.sendall(whole[:3])
        second.sendall(whole)
        assert isinstance(answer_of(second), Ready)
        first.sendall(whole[3:])
        assert isinstance(answer_of(first), Ready)
    keys.check()


def test_another_user_is_not_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the system that says who is at the other end, whatever the mode of the socket; here nobody but a stranger is welcome."""
    monkeypatch.setattr(process, "_users", lambda _settings: {os.getuid() + 1})
    monkeypatch.setattr("hub.crypto.remote.PAUSE_S", 0)
    with socket_folder() as folder:
        where = world.settings.model_copy(update={"keyd_socket": folder / "keyd.sock"})
        with keyd(where, world.addresses):
            client = RemoteKeys(folder / "keyd.sock")
            with pytest.raises(Unavailable):
                client.check()
            client.close()
        monkeypatch.undo()
        with keyd(where, world.addresses):  # the control
            client.check()
            client.close()


def test_a_restart_of_the_key_process_is_not_noticed(world: World) -> None:
    with socket_folder() as folder:
        where = world.settings.model_copy(update={"keyd_socket": folder / "keyd.sock"})
        client = RemoteKeys(folder / "keyd.sock")
        owner, record = uuid4(), uuid4()
        sealing = Sealing(owner, record, 1, 1, "default", {4: (3, b"text")})
        with keyd(where, world.addresses):
            before = client.macs("content", owner, [b"x"])
            client.seal_batch([sealing])
        with keyd(where, world.addresses):
            assert client.macs("content", owner, [b"x"]) == before
            client.seal_batch([sealing])
        client.close()


def test_many_at_once_are_each_told_their_own(world: World, keys: RemoteKeys) -> None:
    owner = uuid4()
    expected = {n: keys.macs("content", owner, [b"%d" % n])[0] for n in range(20)}
    wrong: list[int] = []

    def ask(n: int) -> None:
        for _ in range(30):
            if keys.macs("content", owner, [b"%d" % n]) != [expected[n]]:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_without_a_key_process_it_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.crypto.remote.PAUSE_S", 0)
    with pytest.raises(Unavailable, match="nothing was stored or opened"):
        RemoteKeys(tmp_path / "nobody.sock").check()


class Liar:
    """Listens, and answers each message with the same bytes; None: with nothing."""

    def __init__(self, path: Path, answer: bytes | None) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.answer, self.held = answer, list[socket.socket]()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(connection)
            if self.answer is not None:
                receive(connection, messages.length_of(receive(connection, 4)))
                connection.sendall(self.answer)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.held:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, Unavailable),  # it hangs: asking again would only add to its work
        (b"\0\0\0\x05hello", Tampered),
        (b"\xff\xff\xff\xff", Tampered),
        (messages.encode(Bytes([b""])), Tampered),
        (messages.encode(Sealed([])), Tampered),
        (messages.encode(Failed("unavailable", "The database is down.")), Unavailable),
        (messages.encode(Failed("tampered", "It does not verify.")), Tampered),
        (messages.encode(Failed("too-large", "Too much.")), TooLarge),
    ],
    ids=["silence", "no message", "too long", "another kind", "another kind too", "unavailable", "tampered", "too large"],
)
def test_an_answer_that_is_none_is_an_error_and_not_believed(answer: bytes | None, error: type[Exception]) -> None:
    with socket_folder() as folder:
        liar = Liar(folder / "keyd.sock", answer)
        client = RemoteKeys(folder / "keyd.sock", timeout_s=0.3 if answer is None else 10)
        with pytest.raises(error):
            client.check()
        client.close()
        liar.close()


def test_a_socket_that_somebody_listens_at_is_refused_and_one_that_was_left_behind_taken_over(world: World) -> None:
    with pytest.raises(Refused, match=r"listens at .* already"):
        Keyd(world.settings, world.addresses)
    with socket_folder() as folder:
        path = folder / "keyd.sock"
        left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        left.bind(str(path))
        left.close()
        with keyd(world.settings.model_copy(update={"keyd_socket": path}), world.addresses):
            client = RemoteKeys(path)
            client.check()
            client.close()
        assert not path.exists()


@pytest.mark.parametrize(("place", "reason"), [("x" * 100, "longer than the 107 bytes"), ("missing/keyd.sock", "No such file")])
def test_a_place_where_no_socket_can_be_is_one_sentence(world: World, place: str, reason: str) -> None:
    with socket_folder() as folder, pytest.raises(Refused, match=reason):
        Keyd(world.settings.model_copy(update={"keyd_socket": folder / place}), world.addresses)


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("root.key", r"no root key at .* run `hub migrate`"),
        ("token.pub", "token key .* can't be read"),
        ("root.passphrase", "no passphrase"),
    ],
)
def test_without_one_of_its_files_it_doesnt_start(world: World, tmp_path: Path, lost: str, reason: str) -> None:
    folder = world.settings.state_dir / "keyd"
    for path in folder.iterdir():
        if path.name != lost and path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
            (tmp_path / path.name).chmod(0o600)
    with socket_folder() as short, pytest.raises(Refused, match=reason):
        Keyd(world.settings.model_copy(update={"keyd_dir": tmp_path, "keyd_socket": short / "keyd.sock"}), world.addresses)
    assert not (tmp_path / lost).exists()  # nothing is made in its place


def test_another_hubs_root_key_is_refused(world: World, tmp_path: Path) -> None:
    from hub.setup import make_root_key

    held = world.settings.model_copy(update={"keyd_dir": tmp_path})
    make_root_key(held)
    for name in ("roles.key", "token.pub"):
        (tmp_path / name).write_bytes((world.settings.state_dir / "keyd" / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    with socket_folder() as short, pytest.raises(Refused, match="root key does not fit"):
        Keyd(held.model_copy(update={"keyd_socket": short / "keyd.sock"}), world.addresses)


def test_a_user_that_the_machine_doesnt_have_is_refused(world: World) -> None:
    with socket_folder() as folder, pytest.raises(Refused, match="HUB_KEYD_USERS: this machine has no user 'nobody-here'"):
        Keyd(world.settings.model_copy(update={"keyd_socket": folder / "s", "keyd_users": "root, nobody-here"}), world.addresses)
