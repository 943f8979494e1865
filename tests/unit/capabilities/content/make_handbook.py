"""Write the PDF among the samples anew: `python -m tests.unit.capabilities.content.make_handbook`.

Deterministic for one version of reportlab; `test_samples.py` compares the text of the bundled file with the text here.
"""

from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Spacer

import symphainy

TITLE = "Shift handbook, plant north"
HANDBOOK = Path(symphainy.__path__[0], "samples", "shift-handbook.pdf")

#: Pages of `(heading, paragraphs)`.
PAGES: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...] = (
    (
        (
            "Shift handbook, plant north",
            (
                "This handbook says how a shift is taken over, run and handed on. It describes the work as it is done "
                "today. Where it differs from the drawings, the drawings are older.",
            ),
        ),
        (
            "1. Taking over",
            (
                "The shift that leaves walks through halls 1 to 4 together with the shift that comes, in this order. "
                "Whoever takes over asks three questions at every feed pump: is it louder than yesterday, is it warmer "
                "than its neighbour, and has anything been noted that is not in the system yet.",
                "The walk takes twenty minutes. It is not shortened when production is behind, because most of the "
                "orders of a week are found on it.",
            ),
        ),
        (
            "2. Readings",
            (
                "Every four hours the readings of the feed pumps P-101 and P-102 are written down by hand, also when "
                "the screens work. Pressure is read to a tenth of a bar. A reading that differs from the screen by "
                "more than 0.3 bar is reported at once, and the hand reading counts until the sensor has been checked.",
                "Vibration of P-307 is read from the sensor that was fitted in November. Above 4.5 mm/s the pump is "
                "stopped within the hour; above 7.1 mm/s it is stopped at once, without asking.",
            ),
        ),
    ),
    (
        (
            "3. When a pump has to stop",
            (
                "P-101 and P-102 feed the boiler together. One of them alone carries the boiler up to 60 percent load. "
                "Before one is stopped, the load is brought down and the dryer is told, because steam falls first in "
                "hall 2.",
                "The order is: reduce the load, open the bypass, stop the motor, close the discharge valve, close the "
                "suction valve. The suction valve is closed last, so that the pump never runs dry against a closed "
                "valve.",
                "A stopped pump is locked and tagged. The tag carries the number of the order, not only the date.",
            ),
        ),
        (
            "4. Compressed air",
            (
                "Instrument air must not fall below 5.8 bar. Below that, valves in hall 2 move to their safe position "
                "by themselves and the dryers stop. C-402 starts by itself at 6.2 bar. If it has not started within "
                "ten seconds it is started by hand, from the panel and not from the screen.",
                "A slow loss of pressure overnight is not normal, even when both compressors keep up with it. It is "
                "written down in the morning with the number of starts of C-402 since midnight.",
            ),
        ),
        (
            "5. Valves",
            (
                "V-210 sticks when the steam line has been cold for more than two days. Before the line is heated, the "
                "valve is moved through its full stroke twice by hand. It is never freed with a lever.",
            ),
        ),
    ),
    (
        (
            "6. Orders",
            (
                "An order says what was seen, not what is believed to be the cause. Leaks at the shaft is a finding; "
                "seal is worn is a belief. The cause is entered when the order is closed, by whoever has seen it.",
                "The third order on the same asset within a month is discussed in the morning meeting, whatever it "
                "cost. Three cheap repairs of one seal have been a bent shaft more than once.",
                "Costs that are not known yet are left empty. Zero means that nothing was spent.",
            ),
        ),
        (
            "7. Handing on",
            (
                "What is open is said aloud and stands in the log: which pump is locked and under which order, which "
                "reading is watched and up to which value, who has been called and has not called back.",
                "A shift is handed on when the shift that comes has repeated the open points. Until then the shift "
                "that leaves is in charge, also after its hours.",
            ),
        ),
        (
            "8. What this handbook does not decide",
            (
                "Which of the feed pumps may run alone in winter has not been decided. Until it has, neither does so "
                "without a word from the head of the plant. Whether C-402 can carry the plant alone has never been "
                "tried, and is not tried on a shift.",
            ),
        ),
    ),
)


def text() -> str:
    """Every word of the handbook, in order, single spaces between them."""
    blocks = [block for page in PAGES for heading, paragraphs in page for block in (heading, *paragraphs)]
    return " ".join(" ".join(blocks).split())


def write(path: Path) -> None:
    styles = getSampleStyleSheet()
    body = ParagraphStyle("body", parent=styles["BodyText"], fontSize=11, leading=15, spaceAfter=9)
    heading = ParagraphStyle(
        "heading", parent=styles["Heading2"], fontSize=15, leading=20, spaceBefore=12, spaceAfter=6
    )
    story: list[Flowable] = []
    for page in PAGES:
        for title, paragraphs in page:
            story += [Paragraph(title, heading), *(Paragraph(each, body) for each in paragraphs), Spacer(1, 4)]
        story.append(PageBreak())
    document = SimpleDocTemplate(str(path), pagesize=A4, title=TITLE, author="", invariant=1)
    document.build(story)


if __name__ == "__main__":
    write(HANDBOOK)
