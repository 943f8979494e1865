"""PDF files for tests, made with reportlab."""

import io
from collections.abc import Sequence

from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

LEFT, TOP, PITCH = 72, 770, 14


def pdf(pages: Sequence[Sequence[str]], *, password: str | None = None) -> bytes:
    """A line each; `# ` begins a heading, an empty line a paragraph, and `!image` is a picture."""
    buffer = io.BytesIO()
    encrypt = None if password is None else StandardEncryption(password, ownerPassword="owner", strength=128)
    canvas = Canvas(buffer, pagesize=A4, invariant=1, encrypt=encrypt)
    for lines in pages:
        y = float(TOP)
        for line in lines:
            if line == "!image":
                canvas.drawImage(_picture(), LEFT, y - 100, 100, 100)
                continue
            canvas.setFont(
                "Helvetica-Bold" if line.startswith("# ") else "Helvetica", 16 if line.startswith("# ") else 10
            )
            canvas.drawString(LEFT, y, line.removeprefix("# "))
            y -= PITCH * (1.8 if line.startswith("# ") else 1)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _picture() -> ImageReader:
    return ImageReader(io.BytesIO(b"P6 2 2 255 " + bytes(range(12))))


SENTENCE = "The night shift notes every reading of pump {} in the log of hall {} before it hands over."


def handbook(pages: int, *, lines: int = 45) -> bytes:
    """A long document: headings, and paragraphs of five lines."""
    return pdf(
        [
            [
                f"# Section {page}",
                *("" if line % 6 == 5 else SENTENCE.format(page * 100 + line, page % 7) for line in range(lines)),
            ]
            for page in range(1, pages + 1)
        ]
    )
