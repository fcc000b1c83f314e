"""An MOU's own tests decide as the oracle says, over generated agreements."""

from datetime import datetime
from itertools import product

import pytest
from shapely.geometry import shape

from hub.datasets import DATASETS
from hub.policy.mou import read_mou
from hub.policy.own_tests import As, OwnTest, TestedRecord
from hub.policy.playing import outcome
from tests.policy.answers import as_words
from tests.policy.cases import CASES, PURPOSES, batch
from tests.policy.oracle import DEFAULTS, NUMBERS, TEXTS, Oracle, Reader, Record, area
from tests.written import yaml_of

pytestmark = pytest.mark.unmeasured


@pytest.mark.parametrize("seed", range(8))
def test_generated_agreements_decide_in_their_own_tests_as_the_oracle_says(seed: int) -> None:
    """The oracle imports nothing of the hub, and the wall is compared with it elsewhere: so the file's tests and the wall agree."""
    made = batch(seed, consumers=4, records=60, requests=0)
    shapes = {name: shape(geometry) for name, geometry in made.areas.items()}
    boundaries = {f"{name}.geojson": area(geometry) for name, geometry in made.areas.items()}
    seen = set()
    for data in made.mous:
        pinned = data | {"jurisdictions": {n: j | {"sha256": "a" * 64} for n, j in data["jurisdictions"].items()}}
        mou, oracle = read_mou(yaml_of(pinned), DATASETS), Oracle([data], boundaries)
        since, until = mou.in_force.period
        readers = [Reader(mou.parties.consumer, purpose, case) for purpose in PURPOSES for case in CASES]
        for now, record, reader in product((n for n in made.nows if since <= n < until), made.records, readers):
            if record.provider == mou.parties.provider:
                told, found = outcome(mou, _asking(record, reader, now), shapes, DATASETS, now), oracle.released(record, reader, now)
                expected = found and {n: as_words(n, t) for n, t in found.treatments.items()}
                assert (told and {n: str(t) for n, t in told.items()}) == expected, (data, record, reader, now)
                seen.add(told is None)
    assert seen == {True, False}


def _asking(record: Record, reader: Reader, now: datetime) -> OwnTest:
    """The question that an MOU's author would write, to the microsecond; what a record holds unless it says otherwise is left out."""
    values = {n: v for n, v in record.values.items() if n in (*TEXTS, *NUMBERS) and DEFAULTS.get(n) != v}
    asked = TestedRecord(at=[record.lon, record.lat], **values)  # type: ignore[arg-type]
    exact = asked.model_copy(update={"ago": now - record.values["occurred_at"]})
    who = As(organisation=reader.organisation, purpose=reader.purpose, case=reader.case)
    return OwnTest.model_construct(dataset="incidents", as_=who, record=exact, expect="shown")
