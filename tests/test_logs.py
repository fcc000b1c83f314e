"""The logs: one JSON object a line, and nothing in them that the log of accesses exists to protect."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
import structlog
from starlette.testclient import TestClient

from hub.app import application
from hub.logs import configure
from tests.world import BASE, World, feature, grant

CANARY = "canary"
ITEMS = "/collections/incidents/items"


@pytest.fixture
def configured(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """At the most talkative level, into what `capsys` captures."""
    root, level, handlers, loud = logging.getLogger(), logging.getLogger().level, logging.getLogger().handlers[:], logging.raiseExceptions
    configure("debug")
    assert capsys.readouterr().err == ""
    yield
    structlog.reset_defaults()
    logging.raiseExceptions = loud
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in found)
    return found


@pytest.mark.usefixtures("configured")
def test_what_a_library_says_is_one_json_object_whatever_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("a.library")
    logger.warning('a "quoted" %s\nover two lines \x00 é \\', "word")
    logger.info("below the level")
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("it failed")
    first, second = lines(capsys)
    assert first["event"] == 'a "quoted" word\nover two lines \x00 é \\'
    assert (first["level"], first["logger"]) == ("warning", "a.library")
    assert (second["event"], second["kind"], second["level"]) == ("it failed", "ValueError", "error")
    assert CANARY not in json.dumps(second)


@pytest.mark.usefixtures("configured")
def test_of_a_defect_the_hubs_own_line_tells_kind_and_places_and_not_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    logger = structlog.get_logger("hub.test")
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("failed", what="a test")
    logger.error("waits", exc_info=True)  # outside of any exception
    first, second = lines(capsys)
    assert (first["event"], first["what"], first["defect"]) == ("failed", "a test", "ValueError")
    assert re.fullmatch(r".*tests/test_logs\.py:\d+", first["at"][0])
    assert CANARY not in json.dumps(first)
    assert set(second) == {"event", "level", "timestamp"}


@pytest.mark.usefixtures("configured")
def test_a_message_that_cannot_be_formatted_is_not_printed_with_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("a.library").warning("%d of %d", CANARY)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("configured")
def test_what_the_hub_says_has_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("x").error("tampered", detail='a "quoted"\nline')
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["detail"]) == ("tampered", "error", 'a "quoted"\nline')


def test_a_level_keeps_what_is_below_it_out(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure("error")
    structlog.get_logger("y").warning("not told")
    logging.getLogger("y").warning("not told")
    structlog.get_logger("y").error("told")
    assert [line["event"] for line in lines(capsys)] == ["told"]


@pytest.mark.usefixtures("configured")
def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    structlog.get_logger("z").error("lost")


@pytest.fixture(scope="module")
def hub(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "health"):
        world.organisation(slug)
    fields = {"narrative": "clear", "external_id": "clear"}
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-1", "police", "health", [grant(fields=fields)])
    world.bearer("police")
    world.bearer("health", "research")
    return world


def ask_everything(hub: World) -> list[int]:
    """The statuses of requests that carry the canary wherever a request can carry something; the last meets a defect."""
    asked = [
        hub.publish("police", feature(f"{CANARY}-1", narrative=f"{CANARY} {uuid4()}")),
        hub.publish("police", feature(f"{CANARY}-2", category=CANARY)),
        hub.get("health", "research", ITEMS, external_id=f"{CANARY}-1"),
        hub.get("health", "research", ITEMS, **{CANARY: "1"}),
        hub.get("health", "research", f"{ITEMS}/{CANARY}"),
        hub.http.get(f"/{CANARY}?{CANARY}=1", headers={"Authorization": f"Bearer {CANARY}", "X-Canary": CANARY}),
        hub.http.get(ITEMS, headers={"Authorization": f"Bearer {CANARY}"}),
        hub.http.post("/oauth/token", data={"grant_type": CANARY, "client_assertion": CANARY}),
        hub.http.request("BREW", "/", headers={"User-Agent": CANARY}),
    ]

    with patch("hub.api.collections.page_query", side_effect=RuntimeError(CANARY)):
        asked.append(hub.get("health", "research", ITEMS, external_id=CANARY))
    return [answer.status_code for answer in asked]


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_no_query_record_token_or_header_is_in_a_log(
    hub: World, level: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger keeps the settings of its first use; these are new.
    configure(level)
    monkeypatch.setattr("hub.api.problems._log", structlog.get_logger("hub.api"))
    with TestClient(application(hub.services, lambda: None), base_url=BASE, raise_server_exceptions=False) as http:
        statuses = ask_everything(replace(hub, http=http))
    assert statuses[0] in (200, 201)
    assert statuses[1:] == [422, 200, 400, 404, 404, 401, 400, 405, 500]
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert CANARY not in captured.err
    assert not any(token.rpartition(".")[2] in captured.err for token in hub.tokens.values())
    requests = [line for line in found if line["event"] == "request"]
    assert [r["status"] for r in requests] == (statuses if level == "debug" else [])
    assert all(r.keys() == {"event", "level", "timestamp", "method", "route", "status", "ms"} for r in requests)
    assert {r["route"] for r in requests} <= {"/collections/{name}/items", "/collections/{name}/items/{id}", "/oauth/token", "/", "-"}
    assert [line["kind"] for line in found if line["event"] == "defect"] == ["RuntimeError"]
