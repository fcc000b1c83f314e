"""Settings: a doubtful one is refused by the name of its variable, and no value is ever repeated."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.errors import Refused
from hub.settings import Settings, is_loopback, plain, read_settings
from tests import commands
from tests.commands import Run

SECRET = "s3cr3t-canary"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("HUB_"):
            monkeypatch.delenv(name)


DOUBTFUL = {
    "HUB_DATABASE_URL": [
        "",
        "localhost/hub",
        "postgresql://",
        "postgresql://u:p@host",
        "postgresql://u:p@host/",
        f"mysql://u:{SECRET}@host/hub",
        f"sqlite:///{SECRET}",
        f"postgresql://u:p@{SECRET}:{SECRET}/hub",
        f"postgresql://u:{SECRET}@host:99x/hub",
        f"postgres ql://u:{SECRET}@host/hub",
    ],
    "HUB_KEYS_DATABASE_URL": ["", "hub_keys", f"mysql://u:{SECRET}@host/hub_keys", f"postgresql://u:{SECRET}@host"],
    "HUB_ROOT_KEY_MODULE": ["", "/nowhere/libpkcs11.so", "."],
    "HUB_ROOT_KEY_TOKEN": ["", "x" * 33, "a-token-without-a-module"],
    "HUB_ROOT_KEY_LABEL": ["", "a-key-without-a-module"],
    "HUB_ROOT_KEY_PIN": ["", SECRET],
    "HUB_BASE_URL": [
        "",
        "hub.example",
        "ftp://hub.example",
        "https://",
        "http://hub.example",
        "http://10.0.0.7:8000",
        "http://127.0.0.1.example",
        "http://localhost.example:8000",
        "https://hub.example?x=1",
        "https://hub.example#x",
        f"https://u:{SECRET}@hub.example",
        "https://hub.example:port",
        "https://hub.example:99999",
        "https://hub.example:0",
        "https://hub example",
        " https://hub.example",
        "https://hub.example\n",
        "https://[::1",
    ],
    "HUB_TOKEN_TTL_S": ["29", "901", "0", "-1", "300.5", "five", "", "inf", "1e2", "٣٠٠"],
    "HUB_SEAL_TTL_S": ["0", "6", "-5", "x"],
    "HUB_MAX_BODY_BYTES": ["1023", str(256 * 1024 * 1024 + 1), "10MB"],
    "HUB_MAX_FEATURES": ["0", "100001"],
    "HUB_PAGE_LIMIT": ["0", "10001"],
    "HUB_OPENED_PER_HOUR": ["0", "-1", "many", "1.5", "1000000001"],
    "HUB_KEYS_BACKUPS_KEPT_DAYS": ["-1", "3651", "a month"],
    "HUB_MATCHES_PER_HOUR": ["-1", "1000001", "few"],
    "HUB_PHONE_REGION": ["gb", "GBR", ""],
    "HUB_POOL_SIZE": ["0", "101"],
    "HUB_STATEMENT_TIMEOUT_S": ["0", "601"],
    "HUB_PG_SHARED_BUFFERS": ["0", "lots", "0MB", "64 MB", "64mb"],
    "HUB_SIGN_IN_LINKS": ["", "perhaps", "2"],
    "HUB_BOUNDARIES_FILE": ["x" * 300, "", "/nowhere/areas.geojson", "."],
    "HUB_PURPOSES_FILE": ["x" * 300, "", "/nowhere/areas.geojson", "."],
    "HUB_LOG_NAME": ["", "a name", "a+name", "x" * 201],
    "HUB_LOG_BEHIND_S": ["0", "86401", "a minute"],
    "HUB_WITNESS_QUORUM": ["-1", "33", "two"],
    "HUB_WITNESS_ALARM_S": ["0", "86401"],
    "HUB_WITNESS_BLOCK_S": ["0", "2592001"],
    "HUB_FLAG_PAST_ACCESSES": ["0", "100001", "some"],
    "HUB_FLAG_PAST_DAYS": ["0", "51"],
    "HUB_FLAG_VOLUME_TIMES": ["0", "1001", "1.5"],
    "HUB_FLAG_VOLUME_RECORDS": ["0", "1000000001"],
    "HUB_FLAG_HOUR_PERCENT": ["-1", "51"],
    "HUB_FLAG_AREA_KM": ["-1", "20001", "far"],
    "HUB_FLAG_EXPORT_RECORDS": ["0", "1000000001"],
    "HUB_FLAG_REFUSALS": ["1", "101"],
    "HUB_FLAG_REFUSALS_MINUTES": ["0", "1441"],
    "HUB_FLAG_WALK_CELLS": ["1", "81"],
    "HUB_FLAG_WALK_KM": ["0", "101"],
    "HUB_FLAG_WALK_MINUTES": ["0", "1441"],
    "HUB_LOG_LEVEL": ["verbose", "DEBUG", "", "info\n"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in DOUBTFUL.items() for v in values])
def test_a_doubtful_value_is_refused_by_the_name_of_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused) as refused:
        read_settings()
    assert str(refused.value).startswith(f"{name} "), refused.value
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__  # else a traceback would show pydantic's error with the value


def test_every_setting_that_has_a_range_is_tried() -> None:
    any_text = ("STATE_DIR", "KEYD_DIR", "KEYD_SOCKET", "KEYD_USERS", "LOG_DIR", "ROOT_KEY_PASSPHRASE")
    free = {f"HUB_{name}" for name in any_text}
    assert {f"HUB_{name.upper()}" for name in Settings.model_fields} - free == set(DOUBTFUL)


def test_several_doubtful_values_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HUB_BASE_URL", "HUB_POOL_SIZE", "HUB_LOG_LEVEL"):
        monkeypatch.setenv(name, "x")
    with pytest.raises(Refused, match=r"HUB_BASE_URL .*; HUB_POOL_SIZE .*; HUB_LOG_LEVEL "):
        read_settings()


@pytest.mark.parametrize(
    ("main", "keys"),
    [
        ("postgresql://u:p@h/hub", "postgresql://v:q@h/hub"),
        ("postgresql://u:p@h/hub", "postgresql+psycopg2://u:p@h:5432/hub"),
        ("postgresql:///hub", "postgresql://localhost/hub"),
    ],
)
def test_keys_beside_the_records_are_refused(main: str, keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_DATABASE_URL", main)
    monkeypatch.setenv("HUB_KEYS_DATABASE_URL", keys)
    with pytest.raises(Refused, match="HUB_KEYS_DATABASE_URL must not be the database of the records"):
        read_settings()


@pytest.mark.parametrize("keys", ["postgresql://u:p@h/keys", "postgresql://u:p@other/hub", "postgresql://u:p@h:5433/hub"])
def test_keys_elsewhere_are_taken(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_DATABASE_URL", "postgresql://u:p@h/hub")
    monkeypatch.setenv("HUB_KEYS_DATABASE_URL", keys)
    found = read_settings().keys_url()
    assert found is not None
    assert found.render_as_string(hide_password=False) == keys.replace("postgresql:", "postgresql+psycopg2:")


@pytest.mark.parametrize(
    ("given", "database"),
    [("postgresql://u:p@h/hub", "hub_keys"), ("postgres://u:p@h:1/x", "x_keys"), ("postgresql+psycopg://h/y", "y_keys")],
)
def test_without_an_address_of_their_own_keys_are_in_a_database_of_their_own(
    given: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_DATABASE_URL", given)
    settings = read_settings()
    main, keys = settings.main_url(), settings.keys_url()
    assert main is not None
    assert keys is not None
    assert main.drivername == keys.drivername == "postgresql+psycopg2"
    assert keys == main.set(database=database)


def test_sign_in_links_are_refused_beside_an_address_that_others_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_SIGN_IN_LINKS", "true")
    monkeypatch.setenv("HUB_BASE_URL", "https://hub.example")
    with pytest.raises(Refused, match="HUB_SIGN_IN_LINKS signs in whoever has a link"):
        read_settings()
    monkeypatch.setenv("HUB_BASE_URL", "http://localhost:8000")
    assert read_settings().sign_in_links


HSM = {"HUB_ROOT_KEY_MODULE": __file__, "HUB_ROOT_KEY_TOKEN": "cityport"}  # any file will do: it is not loaded here


def test_an_hsm_is_a_module_and_a_token_and_may_have_a_pin_and_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HSM.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert (settings.root_key_token, settings.root_key_label, settings.root_key_pin) == ("cityport", "concord-root", None)
    monkeypatch.setenv("HUB_ROOT_KEY_LABEL", "root-2027")
    monkeypatch.setenv("HUB_ROOT_KEY_PIN", SECRET)
    settings = read_settings()
    assert (settings.root_key_label, plain(settings.root_key_pin)) == ("root-2027", SECRET)


def test_a_module_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_ROOT_KEY_MODULE", HSM["HUB_ROOT_KEY_MODULE"])
    with pytest.raises(Refused, match="HUB_ROOT_KEY_MODULE needs HUB_ROOT_KEY_TOKEN"):
        read_settings()


def test_a_passphrase_of_a_key_file_beside_an_hsm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**HSM, "HUB_ROOT_KEY_PASSPHRASE": SECRET}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match="HUB_ROOT_KEY_PASSPHRASE opens a key file, and HUB_ROOT_KEY_MODULE says") as refused:
        read_settings()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example"])  # noqa: S104 - refused
def test_sign_in_links_are_refused_while_serving_others(host: str, monkeypatch: pytest.MonkeyPatch, bare: Run) -> None:
    monkeypatch.setenv("HUB_SIGN_IN_LINKS", "true")
    commands.refused(bare("serve", "--host", host), "HUB_SIGN_IN_LINKS", host)


@pytest.mark.parametrize("name", ["HUB_BASE_ULR", "HUB_KEYS_DATABASE", "HUB_DEBUG", "HUB_"])
def test_a_misspelt_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(Refused, match=f"^{name} is not a setting") as refused:
        read_settings()
    assert SECRET not in str(refused.value)


def test_the_right_name_is_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_BASE_ULR", "https://hub.example")
    with pytest.raises(Refused, match="did you mean HUB_BASE_URL"):
        read_settings()


def test_settings_do_not_change_once_read() -> None:
    settings = read_settings()
    with pytest.raises(ValidationError):
        settings.token_ttl_s = 900  # type: ignore[misc]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_DATABASE_URL", f"postgresql://u:{SECRET}@h/hub")
    monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", SECRET)
    settings = read_settings()
    assert settings.root_key_passphrase is not None
    assert settings.root_key_passphrase.get_secret_value() == SECRET
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.main_url()), str(settings.main_url())):
        assert SECRET not in text


def test_without_any_variable_the_hub_is_a_private_one_on_this_machine() -> None:
    settings = read_settings()
    assert (settings.main_url(), settings.keys_url(), settings.state_dir) == (None, None, Path(".local"))
    assert settings.base_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("value", ["https://hub.example", "https://hub.example/", "https://hub.example:8443/concord/", "http://[::1]:8000"])
def test_an_address_is_kept_without_its_last_slash(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_BASE_URL", value)
    assert read_settings().base_url == value.rstrip("/")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example", "2130706433", "LOCALHOST."])  # noqa: S104
def test_what_is_not_plainly_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.sampled_from(sorted(DOUBTFUL)), TEXT)
def test_whatever_a_variable_holds_it_is_taken_or_refused_by_name(name: str, value: str) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(name, f"{value}{SECRET}")
        refusal = refusal_or_none()
        assert refusal is None or (refusal.startswith(name) and SECRET not in refusal)


def refusal_or_none() -> str | None:
    try:
        read_settings()
    except Refused as refused:
        return str(refused)
    return None
