"""Draws a terminal as SVG, with nothing in it that is to be fetched."""

from collections.abc import Iterator
from html import escape
from itertools import groupby

from pyte import Screen

WIDTH, HEIGHT, SIZE = 8.4, 20, 14  # of a character in a line, in pixels
MARGIN, BAR = 20, 44
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
TEXT, WINDOW, EDGE = "#d7dae0", "#16181d", "#4b515d"


def draw(screen: Screen) -> str:
    """Return a window with the lines down to the cursor's."""
    width, height = screen.columns * WIDTH + 2 * MARGIN, (screen.cursor.y + 1) * HEIGHT + BAR + MARGIN
    size = f'width="{width:g}" height="{height:g}"'
    inner = f'width="{width - 1:g}" height="{height - 1:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width:g} {height:g}">',
        f'<rect x="0.5" y="0.5" {inner} rx="10" fill="{WINDOW}" stroke="{EDGE}"/>',
        *(f'<circle cx="{MARGIN + 6 + 20 * number}" cy="{BAR / 2:g}" r="6" fill="{EDGE}"/>' for number in range(3)),
        f'<g font-family="{FONTS}" font-size="{SIZE}" fill="{TEXT}" xml:space="preserve">',
        *(part for row in range(screen.cursor.y + 1) for part in texts(screen, row)),
        "</g>",
        f'<rect {place(screen.cursor.x, screen.cursor.y)} width="{WIDTH}" height="{HEIGHT - 2}" fill="{TEXT}"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def place(column: int, row: int, down: int = 0) -> str:
    return f'x="{MARGIN + column * WIDTH:g}" y="{BAR + row * HEIGHT + down}"'


def texts(screen: Screen, row: int) -> Iterator[str]:
    """Yield each piece of a line that looks alike, as wide as a terminal has it whatever the font."""
    line = screen.buffer[row]
    for (colour, bold), group in groupby(range(screen.columns), lambda column: (line[column].fg, line[column].bold)):
        if inked := [column for column in group if line[column].data != " "]:
            columns = range(inked[0], inked[-1] + 1)
            looks = f' fill="#{colour}"' * (colour != "default") + ' font-weight="bold"' * bold
            text = escape("".join(line[column].data for column in columns), quote=False)
            yield f'<text {place(columns[0], row, SIZE)} textLength="{len(columns) * WIDTH:g}"{looks}>{text}</text>'
