"""A person without a mouse: presses keys, and looks after each where the focus is."""

from playwright.sync_api import Locator, Page, expect

MOST_STEPS = 150
# Whether a mouse or a finger was used is told like any other wrong thing: in the console.
NO_MOUSE = "for (const kind of ['mousedown', 'pointerdown', 'touchstart']) addEventListener(kind, () => console.error('a mouse'), true)"
# Where the focus is, or what is wrong with it (WCAG 2.2: 2.4.3, 2.4.7, 2.4.11).
FOCUS = """() => {
  const e = document.activeElement;
  if (!e || e === document.body || e === document.documentElement) return 'lost: nothing on the page has it';
  const style = getComputedStyle(e);
  const drawn = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  if (!drawn) return 'not drawn on ' + e.outerHTML.slice(0, 120);
  const box = e.getBoundingClientRect();
  const seen = box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  if (!seen) return 'out of sight on ' + e.outerHTML.slice(0, 120);
  const left = Math.max(box.left, 0), top = Math.max(box.top, 0);
  const right = Math.min(box.right, innerWidth), bottom = Math.min(box.bottom, innerHeight);
  const points = [[.5, .5], [.1, .5], [.9, .5], [.5, .1], [.5, .9]].map(([x, y]) => [left + x * (right - left), top + y * (bottom - top)]);
  const free = points.some(([x, y]) => {
    const over = document.elementFromPoint(x, y);
    return over && (e.contains(over) || over.contains(e)); });
  return free ? '' : 'covered on ' + e.outerHTML.slice(0, 120);
}"""


class Keys:
    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def to(self, wanted: Locator, back: bool = False) -> None:
        """Tabs to it (`back`: with Shift); the focus may never be lost, hidden or invisible on the way."""
        goal = wanted.first.element_handle(timeout=5_000)
        for _ in range(MOST_STEPS):
            if self.page.evaluate("goal => goal === document.activeElement", goal):
                return
            self.press("Shift+Tab" if back else "Tab")
            self.check()
        raise AssertionError(f"no way to {wanted} by Tab; the focus is at {self.page.evaluate('document.activeElement.outerHTML')[:200]}")

    def check(self) -> None:
        wrong = self.page.evaluate(FOCUS)
        assert not wrong, f"focus {wrong} ({self.page.url})"

    def enter(self, wanted: Locator, back: bool = False) -> None:
        self.to(wanted, back)
        self.press("Enter")

    def fill(self, wanted: Locator, text: str) -> None:
        self.to(wanted)
        self.press("Control+a")
        self.type(text)
        expect(wanted).to_have_value(text)

    def pick(self, wanted: Locator, value: str) -> None:
        """Goes down a list of choices until it is the one."""
        self.to(wanted)
        for _ in range(MOST_STEPS):
            if wanted.input_value() == value:
                return
            self.press("ArrowDown")
        raise AssertionError(f"{value} is no choice")
