"""A small Python client over the public API. It stands apart: it imports nothing of `hub` and may be copied out.

client = Client("https://hub.example", "harbour-etl", Path("key.pem").read_bytes(), purpose="public-health.outreach")
for feature in client.items("incidents", bbox="-79.40,43.64,-79.36,43.67"): …
"""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, Self
from uuid import uuid4

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GEOJSON = "application/geo+json"
PASSING = (429, 500, 502, 503, 504)  # a hub that restarts, or the proxy before it
TRIES = 10
PART_BYTES = 1 << 18


class Problem(Exception):
    """An answer that is no success. `status` and the members of the RFC 9457 body are in it."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(body.get("detail") or body.get("error_description") or body.get("error") or f"HTTP {status}")
        self.status, self.body = status, body


class Client:
    """One registered client for one purpose. Tokens are fetched, and renewed half a minute before they end."""

    def __init__(
        self,
        base_url: str,
        client_id: str,
        private_key_pem: bytes,
        purpose: str | None = None,
        scope: str | None = None,
        timeout_s: float = 60,
        http: httpx2.Client | None = None,
        case: str | None = None,
    ) -> None:
        """`case`: the reference that some agreements want with the purpose. `http`: one's own, where a proxy or certificates are to be
        set; `timeout_s` is then its business.
        """
        self._base, self._id, self._purpose, self._scope = base_url.rstrip("/"), client_id, purpose, scope
        self._case = case
        self._key, self._algorithm = _private_key(private_key_pem)
        self._http = http or httpx2.Client(timeout=timeout_s)
        self._token: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def token(self) -> str:
        """A valid access token (RFC 6749 §4.4 with RFC 7523 §2.2)."""
        if self._token is None or self._token[1] < time.time() + 30:
            form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": self._assertion()}
            form |= {"purpose": self._purpose} if self._purpose else {}
            form |= {"case": self._case} if self._case else {}
            form |= {"scope": self._scope} if self._scope else {}
            body = _checked(self._http.post(f"{self._base}/oauth/token", data=form)).json()
            self._token = body["access_token"], time.time() + body["expires_in"]
        return self._token[0]

    def get(self, address: str) -> httpx2.Response:
        """Any resource of the hub: a path, or an address it gave (such as a `next` link).

        Raises:
            Problem: the answer is no success.
            ValueError: the address is another server's, which must not get the token.
        """
        path = address.removeprefix(self._base)
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError(f"{address!r} is neither a path (/…) nor an address of {self._base}")
        return _checked(self._http.get(self._base + path, headers=self._headers()))

    def request(self, method: str, path: str, body: bytes | Mapping[str, Any], media: str = "application/json") -> httpx2.Response:
        """A change, such as a step of an agreement: a mapping goes as JSON, bytes as they are.

        Raises:
            Problem: the answer is no success.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return _checked(self._http.request(method, self._base + path, content=content, headers=self._headers() | {"Content-Type": media}))

    def items(self, collection: str, limit: int = 500, **filters: str) -> Iterator[dict[str, Any]]:
        """Every feature that matches, page by page."""
        address: str | None = f"/collections/{collection}/items?{httpx2.QueryParams({'limit': limit, **filters})}"
        while address:
            page = self.get(address).json()
            yield from page["features"]
            address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)

    def match(self, collection: str, field: str, **said: str) -> dict[str, Any]:
        """Whether a value occurs in what others let this client ask about: `match`, `providers`, and of the `records` in which it does what
        they show. `said`: the `value` of a phone, the `plate` of a vehicle, the `name` and `birth_date` of a person.

        Raises:
            Problem: the answer is no success.
        """
        answer: dict[str, Any] = self.request("POST", f"/collections/{collection}/match", {"field": field, **said}).json()
        return answer

    def publish(self, collection: str, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Publishes features, all or none; gives the receipt."""
        body = {"type": "FeatureCollection", "features": list(features)}
        address = f"{self._base}/collections/{collection}/items"
        answer = self._http.post(address, json=body, headers=self._headers() | {"Content-Type": GEOJSON})
        receipt: dict[str, Any] = _checked(answer).json()
        return receipt

    def import_file(
        self,
        collection: str,
        file: BinaryIO,
        mapping: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        sent: Callable[[str, int, int], None] = lambda _job, _bytes, _of: None,
    ) -> dict[str, Any]:
        """Imports a whole file, however long: CSV by `mapping`, else GeoJSON features one a line (or RFC 8142). Gives the job at its
        end: its state is done or failed, and it counts the rows landed, updated, unchanged and refused (`verdicts`).

        The same file and mapping go on where an earlier call was interrupted. A connection that breaks, or a hub that is away for a
        while, is waited for. `sent` is told the job's id, and how many bytes of how many are sent.

        Raises:
            Problem: the hub refuses the mapping, the file or the client.
            httpx2.TransportError: the hub stays away.
        """
        length, digest = _measured(file)
        about = {"mapping": mapping, "dry_run": dry_run, "length": length, "sha256": digest.hex()}
        imports = f"/collections/{collection}/imports"
        once = {"Idempotency-Key": f'"{uuid4()}"'}
        job = self._patiently(lambda: self._send("POST", imports, json=about, headers=once))
        waited = 0
        while job["state"] == "open":
            offset = job["offset"]
            try:
                job = self._part(f"{imports}/{job['id']}", file, job, length, digest, sent)
            except (httpx2.TransportError, Problem) as error:
                if isinstance(error, Problem) and error.status not in (*PASSING, 409, 422):
                    raise
                here = f"{imports}/{job['id']}"
                job = self._patiently(lambda here=here: self._send("GET", here))  # type: ignore[misc]
                waited = 0 if job["offset"] > offset else waited + 1
                if job["state"] == "open" and (waited > TRIES or (isinstance(error, Problem) and error.status not in PASSING)):
                    raise
                time.sleep(min(0.2 * 2**waited, 10))
        return job

    def cancel_import(self, collection: str, job_id: str) -> dict[str, Any]:
        """Ends an open import; what landed stays."""
        return self._send("DELETE", f"/collections/{collection}/imports/{job_id}")

    def verdicts(self, collection: str, job_id: str, outcome: str | None = None) -> Iterator[dict[str, Any]]:
        """The verdict of each row of an import, or of those with one outcome (landed, updated, unchanged, refused)."""
        address = f"{self._base}/collections/{collection}/imports/{job_id}/verdicts"
        params = {"outcome": outcome} if outcome else {}
        with self._http.stream("GET", address, params=params, headers=self._headers()) as answer:
            if answer.status_code >= 400:
                answer.read()
            _checked(answer)
            for line in answer.iter_lines():
                yield json.loads(line)

    def _part(
        self, address: str, file: BinaryIO, job: Mapping[str, Any], length: int, digest: bytes, sent: Callable[[str, int, int], None]
    ) -> dict[str, Any]:
        offset = job["offset"]
        file.seek(offset)

        def parts() -> Iterator[bytes]:
            done = offset
            while data := file.read(PART_BYTES):
                yield data
                done += len(data)
                sent(job["id"], done, length)

        headers = {
            "Upload-Offset": str(offset),
            "Upload-Complete": "?1",
            "Repr-Digest": f"sha-256=:{b64encode(digest).decode()}:",
            "Content-Length": str(length - offset),
            "Content-Type": "application/octet-stream",
        }
        return self._send("PATCH", address, content=parts(), headers=headers)

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
        answer = _checked(self._http.request(method, self._base + path, headers=self._headers() | dict(headers or {}), **more))
        found: dict[str, Any] = answer.json()
        return found

    def _patiently(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Asks until the hub answers, for about a minute."""
        for attempt in range(TRIES):
            try:
                return ask()
            except httpx2.TransportError:
                pass
            except Problem as error:
                if error.status not in PASSING:
                    raise
            time.sleep(min(0.2 * 2**attempt, 10))
        return ask()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token()}"}

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {"iss": self._id, "sub": self._id, "aud": self._base, "iat": now, "exp": now + 60, "jti": uuid4().hex}
        return jwt.encode({"alg": self._algorithm}, claims, self._key, algorithms=[self._algorithm])


def _private_key(pem: bytes) -> tuple[ECKey | OKPKey | RSAKey, str]:
    """The key and the algorithm the hub takes from its kind: ES256, PS256 or Ed25519."""
    for kind, curve, algorithm in ((ECKey, "P-256", "ES256"), (OKPKey, "Ed25519", "Ed25519"), (RSAKey, None, "PS256")):
        try:
            key = kind.import_key(pem)
        except (ValueError, JoseError):
            continue
        if key.is_private and (isinstance(key, RSAKey) or key.curve_name == curve):
            return key, algorithm
    raise ValueError("not an EC P-256, Ed25519 or RSA private key in PEM")


def _measured(file: BinaryIO) -> tuple[int, bytes]:
    """Length in bytes and SHA-256 of the whole file."""
    digest, length = sha256(), 0
    file.seek(0)
    while data := file.read(1 << 20):
        digest.update(data)
        length += len(data)
    return length, digest.digest()


def _checked(answer: httpx2.Response) -> httpx2.Response:
    if answer.status_code >= 400:
        try:
            body = answer.json()
        except ValueError:
            body = None
        raise Problem(answer.status_code, body if isinstance(body, dict) else {})
    return answer
