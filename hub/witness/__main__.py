"""`python -m hub.witness`: the same as `hub witness`, without loading the rest of the hub."""

import sys

from hub.errors import HubError
from hub.witness.commands import commands

if __name__ == "__main__":
    try:
        commands(prog_name="hub witness")
    except HubError as error:
        print(f"hub: {error.detail}", file=sys.stderr)
        raise SystemExit(1) from None
