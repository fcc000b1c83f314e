"""`hub witness …`: a partner's watch over the log of a hub, on a machine of the partner's own. Needs no database and no settings."""

import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from hub.audit.notes import BadNote, VerifierKey
from hub.errors import InvalidRequest
from hub.logs import configure
from hub.witness.folder import Folder
from hub.witness.hub import Hub
from hub.witness.watching import Fork, Witness
from hub.witness.watching import run as work

commands = typer.Typer(no_args_is_help=True, help="Witness: a partner's watch over the log of a hub.")
FORKED = 3  # 1: an error, 2: wrong usage
Here = Annotated[Path, typer.Argument(help="The witness's own folder: one for each log, never put back to an earlier state.")]


@commands.command()
def key(folder: Here, name: Annotated[str, typer.Option(help="What it is called, such as riverside.example/witness.")]) -> None:
    """Makes a witness's key in FOLDER; prints its public half, for the operator of the hub to register."""
    print(Folder(folder).make_key(name))


@commands.command()
def run(
    folder: Here,
    hub: Annotated[str, typer.Option(help="The hub's address.")],
    log_key: Annotated[
        str, typer.Option(help="The log's verifier key, or a file with it: as the operator told you, not as the hub shows.")
    ],
    every: Annotated[float, typer.Option(min=0.1, max=3_600, help="Seconds from one look to the next.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Looks once, and says what it cosigned.")] = False,
    until_eof: Annotated[bool, typer.Option(help="Ends when standard input does.", hidden=True)] = False,
) -> None:
    """Cosigns what the log of a hub shows, as long as it is proved to go on from all it showed before. Exits 3 when the log has forked."""
    pinned, own = verifier_key(log_key), Folder(folder)
    with own.held(), httpx2.Client(base_url=hub, timeout=30) as http:
        try:
            witness = Witness(Hub(http), pinned, own, time.time)
            if once:
                witness.look()
                size = witness.last.size if witness.last else 0
                print(f"Cosigned {size} leaves of {pinned.name}." if size else f"{pinned.name} has no checkpoint yet.")
            else:
                configure("info")
                work(witness, every, _stopping(until_eof))
        except Fork as error:
            print(f"hub: {error.detail}", file=sys.stderr)
            raise typer.Exit(FORKED) from None
        except KeyboardInterrupt:
            return


def verifier_key(given: str) -> VerifierKey:
    """A verifier key, as text or in a file."""
    try:
        path = Path(given)
        return VerifierKey.read(path.read_text() if path.is_file() else given)
    except BadNote as error:
        raise InvalidRequest(f"The key can't be read: {error}.") from None
    except (OSError, UnicodeDecodeError):
        raise InvalidRequest(f"{given[:200]} can't be read.") from None


def _stopping(until_eof: bool) -> threading.Event:
    """Set when standard input ends, if that is asked for; else only a signal ends the witness."""
    stopped = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stopped.set()

    if until_eof:
        threading.Thread(target=wait, daemon=True).start()
    return stopped
