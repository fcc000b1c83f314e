"""The hub believes its own access tokens and nothing that merely looks like one."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt

from hub.errors import NotAuthenticated
from hub.identity.clients import Client
from hub.identity.organisations import Organisation
from hub.identity.tokens import AccessToken, TokenKey, Verifier, mint

from .forgery import AUDIENCE, ISSUER, NOW, PURPOSE, base64url, forge, public_pem

CLIENT = Client(
    "harbour-sync",
    Organisation(7, UUID(int=7), "harbour-health", "Harbour Health", "partner"),
    {},
    frozenset({"publish", "query"}),
    None,
)
SIGNING_KEY = ec.generate_private_key(ec.SECP256R1())
KEY = TokenKey.of(SIGNING_KEY)


def good_claims(**changes: Any) -> dict[str, Any]:
    """A change to None leaves the claim out."""
    at = int(NOW.timestamp())
    claims = {
        "iss": ISSUER,
        "sub": "harbour-sync",
        "client_id": "harbour-sync",
        "aud": AUDIENCE,
        "iat": at,
        "exp": at + 300,
        "jti": "one",
        "scope": "publish query",
        "org": "harbour-health",
        "org_id": 7,
        "purpose": PURPOSE,
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    """Signed with the hub's own key, so that nothing but the change itself can be the reason of a refusal."""
    members = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid, **(header or {})}
    return forge({k: v for k, v in members.items() if v is not None}, good_claims(**changes), SIGNING_KEY)


def verify(text: str, at: datetime = NOW) -> AccessToken:
    return Verifier(ISSUER, AUDIENCE, KEY.public).verify(f"Bearer {text}", at)


def refusal(text: str, at: datetime = NOW) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        verify(text, at)
    assert text not in str(refused.value)
    return str(refused.value)


def test_a_token_says_who_asks_and_for_which_purpose() -> None:
    minted = mint(KEY, ISSUER, AUDIENCE, CLIENT, CLIENT.scopes, PURPOSE, NOW, 300, "a-jti")

    believed = verify(minted)

    assert believed == AccessToken(
        "harbour-sync",
        "harbour-health",
        7,
        PURPOSE,
        frozenset({"publish", "query"}),
        "a-jti",
        NOW + timedelta(seconds=300),
    )
    assert believed.session == "a-jti"


def test_a_token_says_for_which_case_it_is() -> None:
    assert verify(mint(KEY, ISSUER, AUDIENCE, CLIENT, CLIENT.scopes, PURPOSE, NOW, 300, "a-jti", "2026/17")).case == "2026/17"
    assert verify(mint(KEY, ISSUER, AUDIENCE, CLIENT, CLIENT.scopes, PURPOSE, NOW, 300, "a-jti")).case is None


def test_a_minted_token_has_the_header_and_the_claims_of_rfc_9068() -> None:
    minted = mint(KEY, ISSUER, AUDIENCE, CLIENT, frozenset({"publish"}), None, NOW, 300, "a-jti")
    read = jwt.decode(minted, KEY.public, algorithms=["ES256"])

    assert read.header == {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}
    expected = good_claims(jti="a-jti", scope="publish", purpose=None)
    assert read.claims == expected


def test_the_forgers_good_token_is_good() -> None:
    # Without this, every refusal below could be for a reason it doesn't name.
    assert verify(token()).client_id == "harbour-sync"


def test_the_long_form_of_typ_is_accepted() -> None:
    assert verify(token({"typ": "application/at+jwt"})).jti == "one"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "DPoP x.y.z", "Bearer a.b", "Bearer é.b.c"])
def test_what_is_no_bearer_token_is_refused(header: str | None) -> None:
    with pytest.raises(NotAuthenticated):
        Verifier(ISSUER, AUDIENCE, KEY.public).verify(header, NOW)


def test_the_scheme_is_read_in_any_case() -> None:
    assert Verifier(ISSUER, AUDIENCE, KEY.public).verify(f"bEARER {token()}", NOW).jti == "one"


def test_two_tokens_in_one_header_are_refused() -> None:
    assert "three parts" in refusal(f"{token()} {token()}")


def test_a_token_signed_with_rs256_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    forged = forge({"alg": "RS256", "typ": "at+jwt", "kid": KEY.kid}, good_claims(), key)
    assert "algorithm" in refusal(forged)


def test_a_token_with_alg_none_is_refused() -> None:
    header = {"alg": "none", "typ": "at+jwt", "kid": KEY.kid}
    assert "three parts" in refusal(forge(header, good_claims(), None))
    assert "algorithm" in refusal(forge(header, good_claims(), b"any"))


@pytest.mark.parametrize("secret", [public_pem(SIGNING_KEY).encode(), public_pem(SIGNING_KEY).strip().encode()])
def test_a_token_hmacked_with_the_public_key_as_secret_is_refused(secret: bytes) -> None:
    forged = forge({"alg": "HS256", "typ": "at+jwt", "kid": KEY.kid}, good_claims(), secret)
    assert "algorithm" in refusal(forged)


def test_a_token_without_typ_is_refused() -> None:
    assert "typ" in refusal(token({"typ": None}))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "id_token+jwt", "client-authentication+jwt", "dpop+jwt"])
def test_another_kind_of_jwt_from_the_same_key_is_refused(typ: str) -> None:
    assert "typ" in refusal(token({"typ": typ}))


@pytest.mark.parametrize("kid", [None, "another", ""])
def test_a_token_with_a_wrong_kid_is_refused(kid: str | None) -> None:
    assert "kid" in refusal(token({"kid": kid}))


@pytest.mark.parametrize("extra", [{"crit": ["x"], "x": 1}, {"crit": 5}, {"crit": ["b64"], "b64": False}])
def test_a_critical_header_member_is_refused(extra: dict[str, Any]) -> None:
    assert "crit" in refusal(token(extra))


def test_a_header_that_brings_its_own_key_is_refused() -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = {k: v for k, v in TokenKey.of(own).public.as_dict(private=False).items() if k != "kid"}
    assert "jwk" in refusal(forge({"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid, "jwk": jwk}, good_claims(), own))


def test_a_token_signed_with_a_foreign_key_is_refused() -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    assert "signature" in refusal(forge({"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}, good_claims(), own))


def test_a_token_with_a_tampered_payload_is_refused() -> None:
    header, _, signature = token().split(".")
    richer = token(scope="publish query audit").split(".")[1]
    assert "signature" in refusal(f"{header}.{richer}.{signature}")


def test_a_change_of_any_single_character_is_refused() -> None:
    good = token()
    for place, letter in enumerate(good):
        other = "A" if letter != "A" else "B"
        refusal(good[:place] + other + good[place + 1 :])


def test_a_token_for_another_audience_is_refused() -> None:
    assert "aud" in refusal(token(aud="https://other.example/api"))


@pytest.mark.parametrize("audience", [[AUDIENCE], [AUDIENCE, "https://other.example"], None, "", 1])
def test_an_audience_that_is_not_one_string_is_refused(audience: object) -> None:
    assert "aud" in refusal(token(aud=audience))


def test_a_token_of_another_issuer_is_refused() -> None:
    assert "iss" in refusal(token(iss="https://evil.example"))


def test_a_token_bound_to_a_key_is_refused_since_nobody_checks_the_proof() -> None:
    assert "cnf" in refusal(token(cnf={"jkt": "abc"}))
    assert "cnf" in refusal(token(cnf={}))


def test_a_token_is_good_until_the_second_it_expires() -> None:
    assert verify(token(), NOW + timedelta(seconds=299, microseconds=999_999))
    assert "expired" in refusal(token(), NOW + timedelta(seconds=300))


def test_a_token_that_lives_ten_years_is_refused() -> None:
    ten_years = int(NOW.timestamp()) + 10 * 365 * 86400
    assert "longer" in refusal(token(exp=ten_years))
    assert "not valid yet" in refusal(token(iat=ten_years - 300, exp=ten_years))


def test_a_token_from_the_future_is_refused() -> None:
    at = int(NOW.timestamp())
    assert verify(token(iat=at + 5))
    assert "not valid yet" in refusal(token(iat=at + 6))
    assert "not valid yet" in refusal(token(nbf=at + 6))


@pytest.mark.parametrize("claim", ["iss", "sub", "client_id", "aud", "exp", "iat", "jti", "scope", "org", "org_id"])
def test_a_token_that_lacks_a_claim_is_refused_by_its_name(claim: str) -> None:
    assert claim in refusal(token(**{claim: None}))


@pytest.mark.parametrize("odd", ["1", 1.5, True, -1, 10**30, float("nan"), float("inf"), [1], {}])
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_a_time_that_is_no_time_is_refused(claim: str, odd: object) -> None:
    refusal(token(**{claim: odd}))


def test_claims_that_contradict_each_other_are_refused() -> None:
    assert "contradict" in refusal(token(sub="somebody-else"))
    assert "contradict" in refusal(token(scope="publish everything"))
    assert "contradict" in refusal(token(purpose=None))  # the scope query without a purpose
    assert "contradict" in refusal(token(purpose=None, scope="publish", case="7"))  # a case without one
    assert verify(token(purpose=None, scope="publish")).case is None


def test_a_token_longer_than_8_kib_is_refused() -> None:
    assert len(token(purpose="x" * 5000)) < 8192
    assert verify(token(purpose="x" * 5000))
    long = token(purpose="x" * 6000)
    assert len(long) > 8192
    assert "longer" in refusal(long)


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"{", b"[" * 5000, b'{"exp":' + b"9" * 5000 + b"}", b"null"])
def test_a_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    refusal(forge({"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}, payload, SIGNING_KEY))


@pytest.mark.parametrize("header", [b"[]", b"\xff", b"{", b"[" * 5000, b'{"alg":["ES256"]}', b'{"alg":{}}', b'{"typ":5}'])
def test_a_header_that_is_not_all_strings_is_refused(header: bytes) -> None:
    refusal(f"{base64url(header)}.{token().partition('.')[2]}")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_no_header_makes_the_verifier_fail_in_another_way(text: str) -> None:
    verifier = Verifier(ISSUER, AUDIENCE, KEY.public)
    for header in (text, f"Bearer {text}", f"Bearer {base64url(text.encode())}.{base64url(text.encode())}.AAAA"):
        with pytest.raises(NotAuthenticated):
            verifier.verify(header, NOW)


class Counting(Verifier):
    """Counts the signatures it checks."""

    checked = 0

    def _verified(self, unverified: Any) -> Any:
        self.checked += 1
        return super()._verified(unverified)


def test_a_remembered_token_does_not_outlive_its_expiry() -> None:
    verifier, header = Counting(ISSUER, AUDIENCE, KEY.public), f"Bearer {token()}"
    assert verifier.verify(header, NOW) == verifier.verify(header, NOW + timedelta(seconds=299))
    assert verifier.checked == 1
    with pytest.raises(NotAuthenticated, match="expired"):
        verifier.verify(header, NOW + timedelta(seconds=300))


@pytest.mark.parametrize("seconds", [-6, -5.000001, -5, 0, 299.999999, 300, 301])
def test_remembering_changes_no_answer(seconds: float) -> None:
    warm, header = Counting(ISSUER, AUDIENCE, KEY.public), f"Bearer {token()}"
    warm.verify(header, NOW)

    def answer(verifier: Verifier) -> object:
        try:
            return verifier.verify(header, NOW + timedelta(seconds=seconds))
        except NotAuthenticated as error:
            return str(error)

    assert answer(warm) == answer(Verifier(ISSUER, AUDIENCE, KEY.public))
    assert warm.checked == 1


def test_a_refused_token_is_not_remembered() -> None:
    verifier, early = Counting(ISSUER, AUDIENCE, KEY.public), NOW - timedelta(seconds=60)
    with pytest.raises(NotAuthenticated):
        verifier.verify(f"Bearer {token()}", early)
    assert not verifier._kept


def test_the_least_used_token_is_forgotten_first() -> None:
    verifier = Counting(ISSUER, AUDIENCE, KEY.public, keep=2)
    a, b, c = (f"Bearer {token(jti=name)}" for name in "abc")
    for header in (a, b, a, c):  # c pushes b out: a was used since
        verifier.verify(header, NOW)
    assert verifier.checked == 3
    verifier.verify(a, NOW)
    assert verifier.checked == 3
    verifier.verify(b, NOW)
    assert verifier.checked == 4
    assert len(verifier._kept) == 2


def test_threads_that_share_a_verifier_never_see_each_others_token() -> None:
    verifier = Verifier(ISSUER, AUDIENCE, KEY.public, keep=3)
    headers = {str(i): f"Bearer {token(jti=str(i))}" for i in range(12)}

    def mixed_up(start: int) -> int:
        names = [str((start + i) % 12) for i in range(60)]
        return sum(verifier.verify(headers[name], NOW).jti != name for name in names)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(mixed_up, range(24))) == 0


def test_a_remembered_token_costs_a_fraction_of_a_new_one() -> None:
    verifier, header = Verifier(ISSUER, AUDIENCE, KEY.public), f"Bearer {token()}"
    strange = Verifier(ISSUER, AUDIENCE, KEY.public, keep=0)

    def microseconds(call: Callable[[], object], times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - start) / times * 1e6

    verifier.verify(header, NOW)
    # Compared within one run, the best of many short rounds each: the machine may be slow, or busy with something else.
    remembered = min(microseconds(lambda: verifier.verify(header, NOW), 20) for _ in range(50))
    new = min(microseconds(lambda: strange.verify(header, NOW), 5) for _ in range(20))
    assert remembered < new / 4


def test_the_expiry_is_aware_and_in_utc() -> None:
    assert verify(token()).expires_at.tzinfo is UTC
