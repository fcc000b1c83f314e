"""axe-core over a page as it stands: the rules of WCAG 2.2, levels A and AA. Evaluated from outside, so the page keeps its policy."""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

SOURCE = Path(__file__).resolve().parents[2] / ".local" / "assets" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
_RUN = "tags => axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] })"


@cache
def _source() -> str:
    assert SOURCE.is_file(), "axe-core is missing: run `scripts/setup dev`"
    return SOURCE.read_text()


def violations(page: Page) -> list[str]:
    """Each violated rule with the elements that violate it; the page's own too that no rule of axe knows: one h1, no sideways scrolling."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_source())
    result: dict[str, Any] = page.evaluate(_RUN, list(TAGS))
    found = [f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes'][:4]]}" for v in result["violations"]]
    headings = page.locator("h1:visible").count()
    if headings != 1:
        found.append(f"{headings} headings of level 1")
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if over > 0:
        found.append(f"scrolls sideways by {over} px (WCAG 1.4.10)")
    return found
