"""A sample of the long run in tests/crypto/census.py (`make soak ONLY=nonces`): no nonce comes twice, no bit strays."""

import pytest
import sqlalchemy as sa

from tests.crypto.census import Census, Source, count, fair, noticed, restarted, stuck

pytestmark = [
    pytest.mark.db,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # the census forks on purpose
]
SEALS = 120_000


def test_more_than_a_hundred_thousand_seals_of_ten_processes_never_use_a_nonce_twice(keys_admin: sa.Engine) -> None:
    with Census() as census:
        ran = count(census, keys_admin, fair, SEALS, SEALS // 10)
        assert census.faults() == []
    assert ran >= 10
    assert census.counted["fields"] + census.counted["data keys"] >= SEALS
    assert census.counted["data keys"] > 0.2 * census.counted["fields"]


@pytest.mark.parametrize(("source", "found"), [(restarted, "nonces came twice"), (stuck, "a bit in nonces of fields strays")])
def test_the_census_notices_a_broken_random_source(keys_admin: sa.Engine, source: Source, found: str) -> None:
    """The losing controls: a generator that starts anew with its process, and a bit that is never set."""
    assert any(found in fault for fault in noticed(keys_admin, source))


def test_one_nonce_that_comes_back_is_found_among_many() -> None:
    with Census() as census:
        census.add("fields", b"".join(n.to_bytes(12, "big") for n in range(100_000)))
        assert census.twice() == 0
        census.add("data keys", (77_777).to_bytes(12, "big"))
        assert census.twice() == 1
