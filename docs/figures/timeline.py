#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A screenshot of asynclm on a terminal, as SVG for light and for dark pages.

usage: timeline.py [--columns N] [--until TEXT] OUT COMMAND...

Runs COMMAND on a terminal of its own, keeps the cells that it leaves on the screen, and writes
OUT-light.svg and OUT-dark.svg. With --until, only the rows above the first row that begins with
TEXT. The pictures of the README are made by, in ./dev shell:

  python3 docs/figures/timeline.py --until "sync: " docs/figures/timeline \\
      build/release/asynclm run --compare
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from xml.sax.saxutils import escape

ROWS = 200
CELL_WIDTH, CELL_HEIGHT, MARGIN, FONT_SIZE = 8.4, 18, 14, 14
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
# Colours by SGR number, as GitHub's own pages have them.
THEMES = {
    "light": {"page": "#ffffff", "frame": "#d1d9e0", None: "#1f2328", 31: "#cf222e", 32: "#1a7f37",
              33: "#9a6700", 34: "#0969da", 35: "#8250df", 90: "#818b98", "dim": "#59636e"},
    "dark": {"page": "#0d1117", "frame": "#3d444d", None: "#e6edf3", 31: "#f85149", 32: "#3fb950",
             33: "#d29922", 34: "#4493f8", 35: "#ab7df8", 90: "#656c76", "dim": "#9198a1"},
}
# Glyphs that fill a cell are drawn, so that no font leaves gaps between them: share of ink.
SHADES = {"█": 1.0, "▒": 0.55, "░": 0.3}


def output_of(command, columns):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    out = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:  # the program is gone
            break
        if not data:
            break
        out += data
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        sys.exit(f"{' '.join(command)}: exit status {status}\n{out.decode(errors='replace')}")
    return out.decode()


def screen_of(output, columns):
    """Rows of cells (glyph, colour, bold, dim), as a terminal shows them: the few control sequences
    that asynclm writes. Anything else is an error, so that no wrong picture is made."""
    rows, x, y = [[]], 0, 0
    colour, bold, dim = None, False, False
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", output):
        if part == "\r":
            x = 0
        elif part == "\n":
            y += 1
            if y == len(rows):
                rows.append([])
        elif not part.startswith("\x1b"):
            row = rows[y]
            row.extend([(" ", None, False, False)] * (x + 1 - len(row)))
            row[x] = (part, colour, bold, dim)
            x += 1
            if x > columns:
                raise ValueError(f"row {y} is longer than {columns} columns")
        elif part.endswith("m"):
            for code in (int(c or 0) for c in part[2:-1].split(";")):
                if code == 0:
                    colour, bold, dim = None, False, False
                elif code in (1, 2):
                    bold, dim = (True, dim) if code == 1 else (bold, True)
                elif code == 22:
                    bold, dim = False, False
                elif code in (39, 49):
                    colour = None if code == 39 else colour
                elif code in THEMES["light"]:
                    colour = code
                else:
                    raise ValueError(f"colour {code} is not known here")
        elif part.endswith("A"):
            y -= int(part[2:-1])
        elif part == "\x1b[K":
            del rows[y][x:]
        elif part == "\x1b[J":
            del rows[y][x:]
            del rows[y + 1:]
        elif part not in ("\x1b[?25l", "\x1b[?25h"):
            raise ValueError(f"the control sequence {part!r} is not known here")
    return rows


def text_of(row):
    return "".join(cell[0] for cell in row).rstrip()


def svg_of(rows, columns, theme):
    width = columns * CELL_WIDTH + 2 * MARGIN
    height = len(rows) * CELL_HEIGHT + 2 * MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
           f'viewBox="0 0 {width:g} {height:g}" font-family="{FONT}" font-size="{FONT_SIZE}">',
           f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8" '
           f'fill="{theme["page"]}" stroke="{theme["frame"]}"/>']
    for y, row in enumerate(rows):
        top = MARGIN + y * CELL_HEIGHT
        x = 0
        while x < len(row):
            glyph, colour, bold, dim = row[x]
            end = x + 1
            if glyph in SHADES or glyph == "─":
                while end < len(row) and row[end][:2] == row[x][:2]:
                    end += 1
            elif glyph not in " ◆▚":
                # Words that belong together, with the single blanks between them.
                while end < len(row) and row[end][1:] == row[x][1:] and row[end][0] not in "█▒░◆▚─":
                    end += 1
            out += drawn(row, x, end, top, theme["dim"] if dim else theme[colour], bold)
            x = end
    return "\n".join([*out, "</svg>", ""])


def drawn(row, x, end, top, fill, bold):
    """The cells [x, end) of a row: one kind of glyph, or text of one look."""
    left, width = MARGIN + x * CELL_WIDTH, (end - x) * CELL_WIDTH
    glyph = row[x][0]
    bar, bar_top = CELL_HEIGHT - 4, top + 2
    if glyph in SHADES:
        return [f'<rect x="{left:g}" y="{bar_top:g}" width="{width:g}" height="{bar:g}" '
                f'fill="{fill}" fill-opacity="{SHADES[glyph]:g}"/>']
    middle = top + CELL_HEIGHT / 2
    if glyph == "─":
        return [f'<path d="M{left:g} {middle:g}h{width:g}" stroke="{fill}"/>']
    if glyph == "◆":
        half = CELL_WIDTH / 2
        return [f'<path d="M{left:g} {middle:g}l{half:g} -7l{half:g} 7l-{half:g} 7z" fill="{fill}"/>']
    if glyph == "▚":
        half = CELL_WIDTH / 2
        return [f'<path d="M{left:g} {bar_top:g}h{half:g}v{bar / 2:g}h{half:g}v{bar / 2:g}'
                f'h-{half:g}v-{bar / 2:g}h-{half:g}z" fill="{fill}"/>']
    text = "".join(cell[0] for cell in row[x:end])
    out = []
    for word in re.finditer(r"\S+(?: \S+)*", text):
        # textLength keeps the words on the grid whatever the font is.
        out.append(f'<text x="{left + word.start() * CELL_WIDTH:g}" y="{top + 14:g}" '
                   f'textLength="{len(word.group()) * CELL_WIDTH:g}" fill="{fill}"'
                   f'{" font-weight=" + chr(34) + "bold" + chr(34) if bold else ""}>'
                   f"{escape(word.group())}</text>")
    return out


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--columns", type=int, default=104)
    parser.add_argument("--until")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    rows = screen_of(output_of(options.command, options.columns), options.columns)
    if options.until:
        rows = rows[: next(i for i, row in enumerate(rows) if text_of(row).startswith(options.until))]
    while rows and not text_of(rows[-1]):
        rows.pop()
    for name, theme in THEMES.items():
        with open(f"{options.out}-{name}.svg", "w", encoding="utf-8") as file:
            file.write(svg_of(rows, options.columns, theme))


if __name__ == "__main__":
    main()
