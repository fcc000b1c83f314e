"""What commands print: sentences and tables."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Off a terminal there is no width to fit into: a line stays one line.
console = Console(soft_wrap=True, highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of texts, as they are."""
    found = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        found.add_row(*map(escape, row))
    console.print(found)
