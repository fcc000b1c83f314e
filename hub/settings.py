"""The hub's settings: read once from the environment (`HUB_…`), frozen, doubtful values refused by name."""

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from hub.errors import Refused


def _looked_at(value: Any, there: ValidatorFunctionWrapHandler) -> Any:
    try:
        return there(value)
    except OSError as error:  # a name that is too long
        raise ValueError(f"can't be looked at: {error.strerror}") from None


File = Annotated[FilePath, WrapValidator(_looked_at)]


class Settings(BaseSettings):
    """Every setting the hub has; docs/reference/settings.md is generated from these descriptions."""

    model_config = SettingsConfigDict(env_prefix="HUB_", frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: Annotated[
        SecretStr | None,
        Field(
            description="An existing PostgreSQL ≥ 15 with PostGIS, as a user who may create roles and extensions. "
            "Unset: a private cluster in the state folder."
        ),
    ] = None
    keys_database_url: Annotated[
        SecretStr | None,
        Field(description="Where wrapped keys live. Unset: the database named like the main one plus `_keys`."),
    ] = None
    state_dir: Annotated[Path, Field(description="Folder of the token key, role passwords and the private cluster.")] = Path(".local")
    keyd_dir: Annotated[
        Path | None,
        Field(
            description="Folder of the key process, which no other process needs: root key, password of its roles. "
            "Unset: `keyd` in the state folder."
        ),
    ] = None
    keyd_socket: Annotated[Path | None, Field(description="Unix socket of the key process. Unset: `keyd.sock` in the state folder.")] = None
    keyd_users: Annotated[
        str,
        Field(
            description="Users of this machine, separated by commas, whose processes the key process answers besides root's and its own."
        ),
    ] = ""
    log_dir: Annotated[
        Path | None,
        Field(
            description="Folder of the sequencer, which no other process needs: the audit log's signing key, the password of its role. "
            "Unset: `log` in the state folder."
        ),
    ] = None
    log_name: Annotated[
        str | None,
        Field(
            pattern=r"^[^\s+]{1,200}$",
            description="Name of the audit log in its checkpoints and keys: what it is called when it is made, and for good. Unset: host "
            "and path of the base URL of then, and `/audit`.",
        ),
    ] = None
    log_behind_s: Annotated[
        int,
        Field(
            ge=1,
            le=86_400,
            description="Sealed fields are refused once a leaf of the log has been waiting so long to be taken into its tree, or a"
            " signature of the key process to be taken into the log, seconds.",
        ),
    ] = 60
    witness_quorum: Annotated[
        int, Field(ge=0, le=32, description="How many witnesses must cosign what the audit log has signed. 0: none is waited for.")
    ] = 0
    witness_alarm_s: Annotated[
        int, Field(ge=1, le=86_400, description="An alarm is raised once a checkpoint lacks that quorum for so long, seconds.")
    ] = 300
    witness_block_s: Annotated[
        int, Field(ge=1, le=2_592_000, description="Sealed fields are refused once a checkpoint lacks that quorum for so long, seconds.")
    ] = 86_400
    opened_per_hour: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000_000,
            description="How many classes of sealed fields, record by record, one client or person may have opened within an hour; all of "
            "an organisation ten times as many.",
        ),
    ] = 1_000_000
    matches_per_hour: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="How often one client or person may ask within an hour whether a value occurs; all of an "
            "organisation ten times as often. 0: never.",
        ),
    ] = 1_000
    phone_region: Annotated[
        str | None,
        Field(
            pattern="^[A-Z]{2}$",
            description="Country (ISO 3166-1 alpha-2) whose phone numbers are understood without a country code, for exact lookups. "
            "After a change: `hub reindex`.",
        ),
    ] = None
    keys_backups_kept_days: Annotated[
        int,
        Field(
            ge=0,
            le=3_650,
            description="For how many days copies of the keys database are kept that were not registered (snapshots, archived "
            "WAL). A record counts as destroyed completely only after that.",
        ),
    ] = 30
    root_key_passphrase: Annotated[
        SecretStr | None,
        Field(description="Opens the root key file. Only the key process needs it. Unset: read from `root.passphrase` in its folder."),
    ] = None
    root_key_module: Annotated[
        File | None,
        Field(description="PKCS#11 library of the HSM that holds the root key. Unset: the key file."),
    ] = None
    root_key_token: Annotated[str | None, Field(min_length=1, max_length=32, description="Label of the HSM's token.")] = None
    root_key_label: Annotated[str, Field(min_length=1, description="Label of the root key on that token.")] = "concord-root"
    root_key_pin: Annotated[
        SecretStr | None,
        Field(min_length=1, description="PIN of that token's user. Unset: read from `root.pin`."),
    ] = None
    base_url: Annotated[str, Field(description="The address partners use; links, token issuer and audience derive from it.")] = (
        "http://127.0.0.1:8000"
    )
    token_ttl_s: Annotated[int, Field(ge=30, le=900, description="Lifetime of an access token, seconds.")] = 300
    seal_ttl_s: Annotated[int, Field(ge=1, le=5, description="Lifetime of a sealed context, seconds.")] = 5
    max_body_bytes: Annotated[int, Field(ge=1_024, le=256 * 1024 * 1024, description="Largest request body, bytes.")] = 10 * 1024 * 1024
    max_features: Annotated[int, Field(ge=1, le=100_000, description="Most features in one publish request.")] = 5_000
    page_limit: Annotated[int, Field(ge=1, le=10_000, description="Largest `limit` of a page.")] = 1_000
    pool_size: Annotated[int, Field(ge=1, le=100, description="Database connections per worker and role.")] = 8
    statement_timeout_s: Annotated[int, Field(ge=1, le=600, description="A query that runs longer is ended, seconds.")] = 30
    pg_shared_buffers: Annotated[
        str | None, Field(pattern=r"^[1-9][0-9]*(kB|MB|GB)$", description="Memory of the private cluster. Unset: 256MB.")
    ] = None
    sign_in_links: Annotated[
        bool,
        Field(
            description="Lets one-time links sign people in, as the demo does. Refused unless the base URL and the served address are "
            "loopback."
        ),
    ] = False
    boundaries_file: Annotated[
        File | None,
        Field(description='GeoJSON areas with a `name` each, drawn on maps for orientation; `"approximate": true` at its top is told.'),
    ] = None
    purposes_file: Annotated[
        File | None,
        Field(description="YAML registry of the purposes that agreements may name, such as `policies/purposes.yaml`. Unset: any word."),
    ] = None
    flag_past_accesses: Annotated[
        int, Field(ge=1, le=100_000, description="Flags: how many accesses of a client or person are enough to compare another one with.")
    ] = 50
    flag_past_days: Annotated[int, Field(ge=1, le=50, description="Flags: and on more than how many days.")] = 10
    flag_volume_times: Annotated[
        int,
        Field(ge=1, le=1_000, description="Flags: records given on a day are too many at more than so many times those of nearly any day."),
    ] = 3
    flag_volume_records: Annotated[int, Field(ge=1, le=10**9, description="Flags: and at so many at least.")] = 500
    flag_hour_percent: Annotated[
        int, Field(ge=0, le=50, description="Flags: an hour is unusual around which it asked on less than this part of former days, %.")
    ] = 5
    flag_area_km: Annotated[
        int, Field(ge=0, le=20_000, description="Flags: an area is unusual that reaches so far beyond where was asked before, km.")
    ] = 25
    flag_export_records: Annotated[
        int, Field(ge=1, le=10**9, description="Flags: so many records taken away as files on a day are a mass export.")
    ] = 5_000
    flag_refusals: Annotated[int, Field(ge=2, le=100, description="Flags: how many refused or absent answers are too many.")] = 10
    flag_refusals_minutes: Annotated[int, Field(ge=1, le=1_440, description="Flags: and within what time, minutes.")] = 10
    flag_walk_cells: Annotated[
        int, Field(ge=2, le=80, description="Flags: how many small areas side by side are a walk through neighbouring cells.")
    ] = 9
    flag_walk_km: Annotated[int, Field(ge=1, le=100, description="Flags: how wide and high such an area is at most, km.")] = 3
    flag_walk_minutes: Annotated[int, Field(ge=1, le=1_440, description="Flags: and within what time, minutes.")] = 15
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$", description="Least level logged.")] = "info"

    @field_validator("database_url", "keys_database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError):  # of a port that is no number, the error would quote what may be part of a password
            raise ValueError("is not a database address such as postgresql://user:password@host:5432/name") from None
        if url.get_backend_name() not in ("postgresql", "postgres") or not url.database:
            raise ValueError("must be a postgresql:// address that names a database")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_safe_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            odd = parts.port == 0 or "@" in parts.netloc or parts.query or parts.fragment or not value.isprintable() or " " in value
        except ValueError:
            raise ValueError("is not an address such as https://hub.example") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or odd:
            raise ValueError("must be an http(s) address without user, query, fragment or space")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must be https: tokens and records would travel in the clear")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _links_stay_here(self) -> Self:
        if self.sign_in_links and not is_loopback(urlsplit(self.base_url).hostname or ""):
            raise ValueError("HUB_SIGN_IN_LINKS signs in whoever has a link: not with a HUB_BASE_URL that others can reach")
        return self

    @model_validator(mode="after")
    def _one_root_key(self) -> Self:
        given = [f"HUB_{name.upper()}" for name in ("root_key_token", "root_key_label", "root_key_pin") if name in self.model_fields_set]
        if self.root_key_module is None and given:
            raise ValueError(f"{given[0]} is of an HSM, and HUB_ROOT_KEY_MODULE does not say how to reach one")
        if self.root_key_module is not None and self.root_key_token is None:
            raise ValueError("HUB_ROOT_KEY_MODULE needs HUB_ROOT_KEY_TOKEN: which token has the root key?")
        if self.root_key_module is not None and self.root_key_passphrase is not None:
            raise ValueError("HUB_ROOT_KEY_PASSPHRASE opens a key file, and HUB_ROOT_KEY_MODULE says that the root key is in an HSM")
        return self

    @model_validator(mode="after")
    def _keys_live_elsewhere(self) -> Self:
        if self.database_url and self.keys_database_url:
            main, keys = (_driver(url.get_secret_value()) for url in (self.database_url, self.keys_database_url))
            if _place(main) == _place(keys):
                raise ValueError("HUB_KEYS_DATABASE_URL must not be the database of the records")
        return self

    def origin(self) -> str:
        """The name that a new audit log is given: the origin of its checkpoints."""
        parts = urlsplit(self.base_url)
        return self.log_name or f"{parts.netloc}{parts.path}/audit"

    def main_url(self) -> URL | None:
        """The administrator's address of the main database, driver normalised to psycopg2."""
        return _driver(self.database_url.get_secret_value()) if self.database_url else None

    def keys_url(self) -> URL | None:
        """The administrator's address of the keys database; beside the main one unless it was set."""
        if self.keys_database_url:
            return _driver(self.keys_database_url.get_secret_value())
        main = self.main_url()
        return main.set(database=f"{main.database}_keys") if main else None


def plain(secret: SecretStr | None) -> str | None:
    """The text of a secret, for whoever needs it."""
    return None if secret is None else secret.get_secret_value()


def _driver(text: str) -> URL:
    # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3.
    return make_url(text).set(drivername="postgresql+psycopg2")


def _place(url: URL) -> tuple[str, int, str | None]:
    return url.host or "localhost", url.port or 5432, url.database


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or an address of this machine's loopback range."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(**overrides: object) -> Settings:
    """The settings of this process.

    Raises:
        Refused: a value is doubtful; the message names the variable and the reason, never the value.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks each value
    except ValidationError as error:
        raise Refused("; ".join(_sentence(e["loc"], e["msg"]) for e in error.errors(include_input=False))) from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """A misspelt setting would silently leave the default in force."""
    known = [f"HUB_{name.upper()}" for name in Settings.model_fields]
    for name in sorted(environment):
        if name.startswith("HUB_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise Refused(f"{name} is not a setting{f'; did you mean {near[0]}?' if near else ''}")


def _sentence(place: tuple[int | str, ...], reason: str) -> str:
    reason = reason.removeprefix("Value error, ")
    return f"HUB_{str(place[0]).upper()} {reason}" if place else reason
