"""Secrets that must be nowhere, in every form in which a file might hold them, and a search for many of them at once."""

import base64
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from hub.crypto import envelope, providers
from hub.crypto.envelope import AESGCM, kek_aad
from hub.setup import keyd_folder
from tests.faults.stand import Stand

Needles = Mapping[bytes, str]  # how it might look → what it is
CHUNK = 16 << 20
HEAD = 8  # no needle is shorter


def forms_of(value: bytes) -> Iterator[bytes]:
    """As it is, in UTF-16, in hexadecimal, and in base64 wherever in its text it may begin."""
    yield value
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for skipped in range(3):
        whole = value[skipped:][: (len(value) - skipped) // 3 * 3]
        yield base64.b64encode(whole)
        yield base64.urlsafe_b64encode(whole)


def of_text(name: str, text: str) -> dict[bytes, str]:
    """A text, also as JSON writes it."""
    ways = (text.encode(), text.encode("utf-16-le"), json.dumps(text)[1:-1].encode())
    return {form: name for way in ways for form in forms_of(way)}


def of_bytes(name: str, value: bytes) -> dict[bytes, str]:
    return dict.fromkeys(forms_of(value), name)


def of_number(name: str, value: float) -> dict[bytes, str]:
    """A float8: its digits down to the sixth place, and its eight bytes in either order."""
    whole, _, part = repr(abs(value)).partition(".")
    forms = of_text(name, f"{whole}.{part[:6]}")
    return forms | of_bytes(name, struct.pack("<d", value)) | of_bytes(name, struct.pack(">d", value))


class Search:
    """Looks for the first eight bytes of all needles at once, then at the places found."""

    def __init__(self, needles: Needles) -> None:
        self._names = needles
        self._heads: dict[bytes, list[bytes]] = {}
        self._tables = [np.zeros(65_536, bool) for _ in range(0, HEAD, 2)]
        for needle in needles:
            head = needle[:HEAD]
            self._heads.setdefault(head, []).append(needle)
            for n, table in enumerate(self._tables):
                table[int.from_bytes(head[2 * n : 2 * n + 2], "little")] = True

    def find(self, data: bytes) -> set[str]:
        """The names of the needles in `data`."""
        found: set[str] = set()
        for start in range(0, len(data), CHUNK):
            for at in self._places(data[start : start + CHUNK + HEAD]):
                heads = self._heads.get(data[start + at : start + at + HEAD], ())
                found |= {self._names[needle] for needle in heads if data.startswith(needle, start + at)}
        return found

    def _places(self, part: bytes) -> list[int]:
        wide = np.frombuffer(part, np.uint8).astype(np.uint16)
        pairs = wide[:-1] | wide[1:] << 8
        places = np.flatnonzero(self._tables[0][pairs[: 2 - HEAD]])
        for n, table in enumerate(self._tables[1:], 1):
            places = places[table[pairs[places + 2 * n]]]
        return [int(place) for place in places]


def find(needles: Needles, data: bytes) -> set[str]:
    """The names of the needles in `data`."""
    return Search(needles).find(data)


def find_in(needles: Needles, sources: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
    """By name of the needle, the names of the sources that hold it."""
    search, found = Search(needles), dict[str, set[str]]()
    for source, data in sources:
        for name in search.find(data):
            found.setdefault(name, set()).add(source)
    return found


def files_below(folder: Path, *but: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in but:
            yield str(path.relative_to(folder)), path.read_bytes()


def keys_of(where: Stand) -> dict[str, bytes]:
    """Every key there is, unwrapped without the hub's keyring: root key, KEKs, DEKs, and what fields are encrypted with."""
    state = keyd_folder(where.settings)
    content, passphrase = (state / "root.key").read_bytes(), (state / "root.passphrase").read_bytes().hex()
    salt = content[2:18]
    root = providers._file_cipher(passphrase, salt).decrypt(content[18:30], content[30:], providers._file_aad(salt))
    found, keks = {"root key": root, "passphrase": passphrase.encode()}, {}
    for number, owner, cls, bucket, epoch, wrapped in where.sql(
        "select kek_id, owner, class, bucket, epoch, wrapped from keys.kek", url=where.addresses.keys
    ):
        kek = providers.FileRootKey(root).unwrap(bytes(wrapped), kek_aad(UUID(owner).bytes, cls, bucket, epoch))
        found[f"KEK {number}"], keks[number] = kek, (kek, UUID(owner).bytes)
    for record, cls, rev, number, row in where.sql("select record, class, rev, kek_id, row from keys.dek", url=where.addresses.keys):
        kek, owner = keks[number]
        subject, row = owner + UUID(record).bytes + struct.pack(">H", cls), bytes(row)
        dek = AESGCM(kek).decrypt(row[6:18], row[18:66], b"HUBDEK1\0" + subject + struct.pack(">II", number, rev))
        found[f"DEK {record} {cls} {rev}"] = dek
        found[f"K32 {record} {cls} {rev}"] = envelope._derive(dek, b"HUBK1HUBDEK1\0" + subject + struct.pack(">I", rev))[:32]
    return found


def opens(where: Stand, keys: Mapping[str, bytes], column: str, cls: int, field: int) -> list[Any]:
    """What a sealed column of the current records says with those keys: they are the ones that are in use."""
    found = []
    for record, rev, owner, blob in where.sql(
        f"select i.id, i.rev, o.uid, {column} from hub.incidents i join hub.organisations o on o.id = i.provider where {column} is not null"
    ):
        aad = b"HUBFLD1\0" + UUID(owner).bytes + UUID(record).bytes + struct.pack(">HHHI", cls, field, 1, rev)
        text = AESGCM(keys[f"K32 {record} {cls} {rev}"]).decrypt(bytes(blob)[3:15], bytes(blob)[15:], aad)
        found.append(json.loads(text.rstrip(b"\0")[:-1]))
    return found
