"""A reader takes a receipt away: its access as the key process signed it, to hold against the log later."""

import re
from base64 import b64decode
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "fire", "health", "housing"):
        world.organisation(slug)
    for provider in ("police", "fire"):
        fields = {"category": "clear", "narrative": "clear", "place": "clear"}
        world.mou(tmp_path_factory.mktemp("mous"), f"MOU-{provider.upper()}", provider, "health", [grant(fields=fields)])
        world.mou(tmp_path_factory.mktemp("mous"), f"MOU-{provider.upper()}-BARE", provider, "housing", [grant()])
        assert world.publish(provider, feature(f"{provider}-1", narrative="Seen")).status_code == 201
    return world


def parts(text: str) -> tuple[UUID, int, dict[str, bytes]]:
    """A receipt by its form alone (RFC 9651)."""
    found = dict(part.split("=", 1) for part in text.split(", "))
    return UUID(found.pop("event").strip('"')), int(found.pop("n")), {name: b64decode(v.strip(":")) for name, v in found.items()}


def verify(text: str) -> None:
    """As docs/reference/audit-leaf.md tells."""
    _, n, said = parts(text)
    message = b"HUBLEAF1\0" + n.to_bytes(8, "big") + said["leaf"] + said["chain"]
    Ed25519PublicKey.from_public_bytes(said["key"]).verify(said["signature"], message)


def asked(world: World, way: str, client: str = "health") -> Any:
    record = world.items(client, "research")[0]["id"]
    item = f"{ITEMS}/{record}"
    path = {"page": ITEMS, "item": item, "explain": f"{item}/explain", "map": "/collections/incidents/map"}[way]
    answer = world.get(client, "research", path, **({"bbox": "-80,43,-79,44"} if way == "map" else {}))
    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize("way", ["page", "item", "explain"])
def test_an_answer_that_opens_something_brings_the_signed_leaf_of_its_access(shared: World, way: str) -> None:
    text = asked(shared, way).headers["audit-receipt"]
    verify(text)
    event, _, said = parts(text)
    leaves = shared.services.log.access(event, None)
    assert said["leaf"] in {sha256(b"\0" + leaf.text.encode()).digest() for leaf in leaves}


def test_the_chain_of_a_receipt_covers_every_leaf_of_the_access(shared: World) -> None:
    event, n, said = parts(asked(shared, "page").headers["audit-receipt"])
    first, last = shared.keyd.signer.after(n - 2, 2)
    assert {first.event, last.event} == {event}
    assert last.chain == said["chain"]
    assert said["chain"] == sha256(b"HUBCHAIN1\0" + first.chain + n.to_bytes(8, "big") + said["leaf"]).digest()


def test_a_receipt_that_was_changed_does_not_verify(shared: World) -> None:
    text = asked(shared, "item").headers["audit-receipt"]
    n = re.search(r"n=(\d+)", text)
    assert n
    with pytest.raises(InvalidSignature):
        verify(text.replace(f"n={n[1]}", f"n={int(n[1]) + 1}"))


@pytest.mark.parametrize("way", ["page", "item", "explain", "map"])
def test_so_does_one_that_opens_nothing(shared: World, way: str) -> None:
    text = asked(shared, way, "housing").headers["audit-receipt"]
    verify(text)
    event, _, said = parts(text)
    assert said["leaf"] in {bytes.fromhex(leaf.hash) for leaf in shared.services.log.access(event, None)}
