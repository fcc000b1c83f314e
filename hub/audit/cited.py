"""The agreements of a bundle: each must be the file that leaves cite, be signed by its parties, and give what was shown. Pure."""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from hub.audit import bundle
from hub.audit.bundle import Trust

CheckSignature = Callable[[str, bytes, dict[str, str]], None]
"""Raises an exception with a sentence unless a detached JWS over this content is by this key."""
Replay = Callable[[Mapping[str, Any], Mapping[tuple[str, int], bytes]], Iterator[str]]
"""What is wrong between a leaf and the versions of agreements (by name and number, their files) that it cites."""


class Agreements:
    """`read` gives a file of the bundle by its name. What is wrong is told in sentences; `notes`: what could not be checked."""

    def __init__(self, read: Callable[[str], bytes], trust: Trust, check: CheckSignature | None, replay: Replay | None) -> None:
        self._read, self._trust, self._check, self._replay = read, trust, check, replay
        self.files: dict[tuple[str, int], bytes] = {}
        self.notes: list[str] = []
        self._digests: dict[tuple[str, int], str] = {}

    def load(self, names: set[str]) -> Iterator[str]:
        """Reads every version and boundary file among the bundle's `names`; what is wrong with them."""
        for name in sorted(n for n in names if n.startswith(bundle.MOUS) and n.endswith(".yaml")):
            source, said = self._read(name), json.loads(self._read(name.removesuffix(".yaml") + ".json"))
            key = str(said["mou"]), int(said["version"])
            self.files[key], self._digests[key] = source, sha256(source).hexdigest()
            yield from self._wrong_with(key, said, names)
        for name in sorted(n for n in names if n.startswith(bundle.BOUNDARIES)):
            if sha256(self._read(name)).hexdigest() != name.removeprefix(bundle.BOUNDARIES):
                yield f"The boundary file {name} is not the one that its name says."
        if self.files and self._unchecked:
            self.notes.append("Signatures of agreements were not checked: the trust file names no keys of parties.")

    def cited(self, leaf: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with what a leaf cites, and with what it says was shown."""
        unders = leaf.get("under", ())
        for under in unders:
            digest = self._digests.get((under["mou"], under["version"]))
            if digest is None:
                yield f"cites {under['mou']} version {under['version']}, which the bundle lacks."
            elif digest != under["sha256"]:
                yield f"cites another file of {under['mou']} version {under['version']} than the bundle has."
        owner = leaf.get("owner")
        given = leaf["type"] in bundle.GIVING and leaf["decision"] == "permit"
        if given and not unders and leaf["by"].get("organisation") != owner and "revisions" in leaf.get("shown", {}):
            yield f"shows {leaf['shown'].get('count')} records of {owner} to another organisation, and cites no agreement."
        if self._replay is not None:
            yield from (f"does not fit: {sentence}." for sentence in self._replay(leaf, self.files))

    @property
    def _unchecked(self) -> bool:
        return self._trust.parties is None or self._check is None

    def _wrong_with(self, key: tuple[str, int], said: Mapping[str, Any], names: set[str]) -> Iterator[str]:
        version = f"{key[0]} version {key[1]}"
        if said["statement"] is None:
            # So were those that came into force before parties signed: whoever names keys of parties wants them to have signed.
            if self._unchecked:
                self.notes.append(f"{version} has no statement that its parties signed.")
            else:
                yield f"{version} has no statement that its parties signed."
            return
        statement = json.loads(said["statement"])
        if (statement["mou"], statement["version"], statement["sha256"]) != (*key, self._digests[key]):
            yield f"The statement of {version} is about another file."
        for pinned in statement["boundaries"].values():
            if f"{bundle.BOUNDARIES}{pinned}" not in names:
                yield f"A boundary file of {version} is missing."
        if self._unchecked:
            return
        signatures = {s["organisation"]: s["jws"] for s in said["signatures"]}
        for party in (statement["provider"], statement["consumer"]):
            if not self._signs(party, signatures.get(party), str(said["statement"]).encode()):
                yield f"{version} is not signed by {party} with a key that is trusted as its own."

    def _signs(self, party: str, jws: str | None, content: bytes) -> bool:
        for jwk in (self._trust.parties or {}).get(party, ()):
            try:
                if jws is not None and self._check is not None:
                    self._check(jws, content, jwk)
                    return True
            except Exception:  # noqa: S112  # by another of the party's keys, perhaps
                continue
        return False
