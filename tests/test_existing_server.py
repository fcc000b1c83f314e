"""An existing server that doesn't fit is refused in one sentence that says what is missing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub import db
from hub.errors import Refused

Clone = Callable[[], tuple[sa.URL, sa.URL]]


def test_a_server_that_is_too_old_is_refused(databases: Clone, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "LEAST_VERSION", 99)
    with pytest.raises(Refused, match=r"^PostgreSQL 99 or newer is needed; this server is \d+$"):
        db.migrate(*databases(), db.read_secrets(state), db.read_roles_secret(state / "keyd"), db.read_roles_secret(state / "log"))


def test_a_server_without_an_extension_is_refused(databases: Clone, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "EXTENSIONS", {"no_such_extension": "no-such-package"})
    with pytest.raises(Refused, match=r"lacks the extension no_such_extension; install no-such-package"):
        db.migrate(*databases(), db.read_secrets(state), db.read_roles_secret(state / "keyd"), db.read_roles_secret(state / "log"))


def test_a_user_who_may_not_set_it_up_is_refused(databases: Clone, state: Path) -> None:
    main, keys = databases()
    secrets = db.read_secrets(state)
    writer = {"username": "hub_writer", "password": secrets.password("hub_writer")}
    with pytest.raises(Refused, match=r"can't be (made|set up|reached)"):
        db.migrate(
            main.set(**writer, database="not_there"),
            keys.set(**writer),
            secrets,
            db.read_roles_secret(state / "keyd"),
            db.read_roles_secret(state / "log"),
        )
