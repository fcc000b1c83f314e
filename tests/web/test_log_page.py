"""The page on the state of the log: what it tells auditors and owners, and that who is neither does not get it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.audit.published import Alarm, Published, State
from hub.audit.witnesses import Witness
from tests.web.test_audit_pages import Scene, scene

__all__ = ["scene"]
AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


def text(scene: Scene, handle: str) -> str:
    answer = scene.open(handle, "/audit/state")
    assert answer.status_code == 200
    return " ".join(answer.text.split())


@pytest.fixture
def told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the page tell of a state that is the real one but for some members."""

    def tell(**members: Any) -> None:
        real: State = scene.world.services.published.state()
        monkeypatch.setattr(Published, "state", lambda _self: replace(real, **members))

    return tell


@pytest.mark.parametrize(("handle", "back"), [("auditor", "/audit"), ("lead", "/owner")])
def test_it_tells_the_tree_its_keys_and_that_nothing_is_wrong(scene: Scene, handle: str, back: str) -> None:
    found = text(scene, handle)
    assert str(scene.world.services.published.state().key) in found
    assert "No alarm is open" in found
    assert "No partner has a witness here" in found
    assert f'<a href="{back}">←' in found
    assert '<a href="/audit/state">' in scene.open(handle, back).text


def test_it_tells_how_far_each_witness_is_and_what_is_wrong(scene: Scene, told: Any) -> None:
    key = "x+00000000+AA"
    told(
        quorum=2,
        unwitnessed_s=400.0,
        witnesses=[
            Witness("clinic", key, AT, 7, AT, None),
            Witness("library", key, AT, 5, AT, 20.0),
            Witness("school", key, AT, 3, AT, 400.0),
            Witness("parish", key, AT, None, None, 500.0),
        ],
        alarms=[Alarm("witnesses behind", "A checkpoint lacks <b>two</b>.", AT)],
    )
    found = text(scene, "auditor")
    for words in (
        "1 alarm",
        "lacks &lt;b&gt;two&lt;/b&gt;.",
        "2 witnesses are to cosign each checkpoint. One has been waiting for 400 seconds.",
        '<span class="tag good">up to date</span>',
        '<span class="tag care">20 seconds behind</span>',
        '<span class="tag bad">400 seconds behind</span>',
        '<span class="tag care">not come yet</span>',
        "7 entries, 27 Nov 2026, 12:00 UTC",
    ):
        assert words in found, words
    assert "No alarm is open" not in found


def test_a_parameter_that_it_does_not_take_is_refused(scene: Scene) -> None:
    assert scene.open("auditor", "/audit/state", x="1").status_code == 400
