"""Access reviews as programs read them: their own organisation's, each reading logged, the hashes those of the log."""

import json
from hashlib import sha256
from uuid import uuid4

import pytest
import rfc8785

from hub.audit.review import Run
from tests.oversight.test_reviews import Scene, scene, used
from tests.pdf import text_of as words_of

__all__ = ["scene", "used"]  # fixtures
PATH = "/audit/reviews"


@pytest.fixture
def run(scene: Scene) -> Run:
    scene.story.world.tokens.clear()  # of another time
    return scene.opened()


def test_the_runs_of_an_organisation_are_told_as_the_page_tells_them(scene: Scene, run: Run) -> None:
    (told,) = [r for r in scene.story.ask("watch", PATH).json()["runs"] if r["id"] == str(run.id)]
    assert told["review"] == {"id": str(run.review.id), "title": "Everything", "scope": {}, "every": "month"}
    assert (told["lines"], told["decided"], told["overdue"]) == (len(run.lines), 0, False)
    assert "signed_at" not in told
    assert scene.story.logged()[-1]["asked"] == {"as": "review", "fields": []}
    scene.later(60)
    scene.story.world.tokens.clear()  # they lasted five minutes
    (told,) = [r for r in scene.story.ask("watch", PATH).json()["runs"] if r["id"] == str(run.id)]
    assert told["overdue"]


def test_a_signed_run_has_the_hashes_that_the_log_has(scene: Scene, run: Run) -> None:
    scene.reviews.sign(scene.by("one@watch"), scene.decided(run).id)
    logged = scene.leaf()["asked"]
    told = scene.story.ask("watch", f"{PATH}/{run.id}").json()
    assert told["figures_sha256"] == sha256(rfc8785.dumps(told["figures"])).hexdigest() == logged["figures"]
    assert told["signed_sha256"] == sha256(rfc8785.dumps(told["signed"])).hexdigest() == logged["sha256"]
    assert told["figures"]["lines"] == run.lines
    assert [d["line"] for d in told["decisions"]] == [line["line"] for line in run.lines]
    assert {d["person"] for d in told["decisions"]} == {str(scene.people["one@watch"])}
    assert told["signed_at"] == told["signed"]["signed"]["at"]
    assert scene.story.logged()[-1]["asked"] == {"as": "review", "fields": ["run"]}


def test_its_pdf_is_there_once_it_is_signed_off(scene: Scene, run: Run) -> None:
    assert scene.story.ask("watch", f"{PATH}/{run.id}/review.pdf").status_code == 409
    signed = scene.reviews.sign(scene.by("one@watch"), scene.decided(run).id)
    answer = scene.story.ask("watch", f"{PATH}/{run.id}/review.pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert str(run.id) in answer.headers["content-disposition"]
    text = "".join(words_of(answer.content)).replace(" ", "")
    assert "Somebody:one@watch" in text
    assert signed.figures_sha256 in text


@pytest.mark.parametrize("tail", ["", "/review.pdf"])
def test_anothers_run_is_absent_as_one_that_is_not_there(scene: Scene, run: Run, tail: str) -> None:
    asked = [scene.story.ask("police", f"{PATH}/{number}{tail}") for number in (run.id, uuid4(), "x")]
    assert [answer.status_code for answer in asked] == [404, 404, 404]
    assert len({json.dumps(answer.json(), sort_keys=True) for answer in asked}) == 1
    assert (scene.story.logged()[-1]["decision"], scene.story.logged()[-1]["by"]["organisation"]) == ("absent", "police")
    assert str(run.id) not in str(scene.story.ask("police", PATH).json())


def test_without_the_scope_or_with_a_parameter_nothing_is_told(scene: Scene, run: Run) -> None:
    token = scene.story.world.token_response("health", "research", "query").json()["access_token"]
    for path in (PATH, f"{PATH}/{run.id}", f"{PATH}/{run.id}/review.pdf"):
        assert scene.story.world.http.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 403
        assert scene.story.world.http.get(path).status_code == 401
        assert scene.story.ask("watch", path, more="1").status_code == 400
