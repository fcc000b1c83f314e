"""More ways in for canaries: a file that arrives in pieces, with rows that are refused, cut off and gone on with; requests with a key,
whose answers are kept; changes and withdrawals by id. What the processes hold open meanwhile is looked at too.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.load import ITEMS
from tests.faults.needles import files_below
from tests.imports.files import BY_ID, digest_of, repr_digest
from tests.imports.kills import Sender
from tests.imports.sending import IMPORTS

if TYPE_CHECKING:
    from tests.faults.scene import Scene

MAPPING = BY_ID | {
    "fields": BY_ID["fields"] | {"phone": {"column": "tel"}, "title": {"column": "head"}, "address": {"column": "street"}},
    "unmapped": "extra",
}
HEADER = "id,kind,when,lon,lat,story,tel,head,street,beat"
WHEN = "2021-03-04T13:37:11Z"


def open_files(pid: int, name: str) -> Iterator[tuple[str, bytes]]:
    """Every regular file that a process holds open, also one that has no name any more."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
            if target.startswith("/") and not target.startswith(("/dev/", "/proc/")) and not target.endswith("server.log"):
                yield f"{name}: {target}", entry.read_bytes()
        except OSError:
            continue  # it was closed meanwhile


def family(pid: int) -> list[int]:
    """A process and those that it started."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, parent = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent in found:
            found += family(number)
    return found


def caught(scene: "Scene", name: str) -> None:
    """What lies in files at this moment, and will be gone later."""
    where = scene.where
    for pid in family(scene.server.pid):
        scene.caught += open_files(pid, f"{name}, open")
    scene.caught += ((f"{name}: {path}", data) for path, data in files_below(scene.server.temporary))
    for cluster in where.clusters():
        for folder in (cluster.home / "data" / "base").glob("pgsql_tmp"):
            scene.caught += ((f"{name}: {path}", data) for path, data in files_below(folder))


def arrive(scene: "Scene") -> None:
    sender = Sender(scene.where)
    _file(scene, sender)
    _by_id(scene, sender)
    sender.close()
    scene.secrets += sender.secrets


def _row(scene: "Scene", n: int, **changed: str) -> str:
    cells = {
        "id": f"file-{n}", "kind": "T", "when": WHEN,
        "lon": str(scene.degrees("longitude", -79.6, -79.1)), "lat": str(scene.degrees("latitude", 43.6, 43.8)),
        "story": scene.word("narrative in a file"), "tel": scene.word("phone in a file"), "head": scene.word("title in a file"),
        "street": scene.word("address in a file"), "beat": scene.word("extra in a file"),
    }  # fmt: skip
    return ",".join((cells | changed)[column] for column in HEADER.split(","))


def _file(scene: "Scene", sender: Sender) -> None:
    word = scene.word
    refused = [{"kind": word("unknown category")}, {"when": word("no time")}, {"lat": word("no latitude")}, {"street": word("long") * 50}]
    rows = [_row(scene, n, **(refused[n // 10 % 4] if n % 10 == 5 else {})) for n in range(80)]
    file = "".join(f"{line}\n" for line in (HEADER, *rows)).encode()
    job = sender.insist("POST", IMPORTS, {"mapping": MAPPING, "length": len(file), "sha256": digest_of(file)})
    path, half = f"{IMPORTS}/{job['id']}", len(file) // 2

    def pieces(start: int, end: int) -> Iterator[bytes]:
        yield file[start : (start + end) // 2]
        time.sleep(0.3)
        caught(scene, "while a file arrives")
        yield file[(start + end) // 2 : end]

    for end in (half, len(file)):
        at = sender.insist("GET", path)["offset"]
        whole = {"Repr_Digest": repr_digest(file)} if end == len(file) else {}
        status, told = sender.asked(
            "PATCH", path, pieces(at, end), Upload_Offset=str(at), Content_Length=str(end - at),
            Upload_Complete="?1" if whole else "?0", **whole,
        )  # fmt: skip
        assert status == 200, told
    assert (told["state"], told["rows"], told["refused"]) == ("done", 80, 8), told
    for asked in (path, f"{path}/verdicts"):
        answer = sender.ask("GET", asked)
        assert answer is not None
        assert answer[0] == 200, answer
        scene.said.append((asked, answer[2]))


def _by_id(scene: "Scene", sender: Sender) -> None:
    """Created, changed and withdrawn, each twice under one key: the second time the kept answer comes."""
    external_id: dict[str, Any] = {}
    path, revision = ITEMS, 0
    for method in ("POST", "PUT", "DELETE"):
        body = None if method == "DELETE" else scene.feature(**external_id)
        more = {"Idempotency_Key": f'"{method}-once"', "Content_Type": "application/geo+json"} | (
            {"If_Match": f'"{revision}"'} if revision else {}
        )
        for _ in range(2):
            status, told = sender.asked(method, path, None if body is None else json.dumps(body).encode(), **more)
            assert status in (200, 201), told
            scene.said.append((f"{method}, {status}", json.dumps(told).encode()))
        external_id = {"external_id": body["properties"]["external_id"]} if body else {}
        path, revision = f"{ITEMS}/{told['records'][0]['id']}", told["records"][0]["revision"]
    assert re.fullmatch(r".*/[0-9a-f-]{36}", path)
