#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that other files say of the results what the results' pages say.

usage: lint_results.py CHECKOUT

In each file of QUOTING, table rows between a line `<!-- rows of PAGE -->` and `<!-- end of rows -->`
must be rows of that page, to the letter.
"""

import pathlib
import re
import sys

QUOTING = ("README.md", "models/README.md")
BEGIN, END = "<!-- rows of {} -->", "<!-- end of rows -->"
BLOCK = re.compile(BEGIN.format(r"(\S+)") + r"\n((?:(?!<!--).)*)" + END, re.DOTALL)


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]


def complaints(name, text, read):
    """What is wrong with the text of the file `name`, one line each. `read`: path of a page -> its text, None if there is none."""
    blocks = BLOCK.findall(text)
    if not blocks or text.count(BEGIN.split("{}", maxsplit=1)[0]) != len(blocks) or text.count(END) != len(blocks):
        return [f"{name} needs pairs of {BEGIN.format('PAGE')} and {END}, at least one"]
    found = []
    for path, block in blocks:
        page, quoted = read(path), rows(block)
        if page is None:
            found.append(f"{name} quotes {path}, which is not there")
        elif len(quoted) < 2:
            found.append(f"{name} quotes no row of {path}")
        else:
            there = set(rows(page))
            found += [f"{name} has a row that {path} has not: {row}" for row in quoted if row not in there]
    return found


def main(checkout):
    def read(path):
        file = pathlib.Path(checkout) / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    found = [line for name in QUOTING for line in complaints(name, read(name) or "", read)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
