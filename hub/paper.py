"""Documents on paper: A4 pages of text and tables as a PDF, in the fonts that set-up fetched. The same words give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

from fpdf import FPDF, FontFace

FONTS = Path(__file__).resolve().parent / "web" / "static" / "vendor" / "fonts"  # made by scripts/setup
GREY, BLACK = (90, 90, 90), (0, 0, 0)
Facts = Sequence[tuple[str, str | Sequence[str]]]


class Paper(FPDF):
    """A4; what the document is and the page's number at the foot."""

    def __init__(self, foot: str) -> None:
        super().__init__(format="A4")
        self.foot = foot
        self.add_font("text", "", FONTS / "DejaVuSans.ttf")
        self.add_font("text", "B", FONTS / "DejaVuSans-Bold.ttf")
        self.set_margin(20)
        self.set_auto_page_break(True, 22)
        self.alias_nb_pages()
        self.add_page()

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("text", size=7)
        self.set_text_color(*GREY)
        self.cell(0, 5, f"{self.foot}   ·   page {self.page_no()} of {{nb}}")
        self.set_text_color(*BLACK)

    def say(self, text: str, size: float = 9.5, style: str = "", space: float = 1.5) -> None:
        self.set_font("text", style, size)
        self.multi_cell(0, size * 0.53, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(space)

    def heading(self, text: str) -> None:
        if self.get_y() > self.h - 50:
            self.add_page()
        self.ln(3)
        self.say(text, 12.5, "B", 2)

    def facts(self, facts: Facts) -> None:
        self.set_font("text", size=9)
        with self.table(
            borders_layout="HORIZONTAL_LINES",
            col_widths=(30, 70),
            first_row_as_headings=False,
            line_height=4.9,
            padding=1,
            text_align="LEFT",
            v_align="TOP",
        ) as table:
            for name, said in facts:
                row = table.row()
                row.cell(name, style=FontFace(emphasis="BOLD"))
                row.cell(said if isinstance(said, str) else "\n".join(f"• {s}" for s in said))
        self.ln(2)
