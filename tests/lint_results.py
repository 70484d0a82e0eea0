#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that other files say of the results what the results' pages say.

usage: lint_results.py CHECKOUT

Each file of QUOTING must have, for each of its pages once, table rows between a line
`<!-- rows of PAGE -->` and `<!-- end of rows -->`, and they must be rows of that page, to the letter.
"""

import pathlib
import re
import sys

QUOTING = {"README.md": ["docs/accuracy.md", "docs/results.md"], "models/README.md": ["docs/accuracy.md"]}
BEGIN, END = "<!-- rows of {} -->", "<!-- end of rows -->"
BLOCK = re.compile(BEGIN.format(r"(\S+)") + r"\n((?:(?!<!--).)*)" + END, re.DOTALL)


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]


def complaints(name, text, pages):
    """What is wrong with the text of the file `name`, one line each. `pages`: path -> text, of those that it must quote."""
    blocks = BLOCK.findall(text)
    quoted = sorted(path for path, _ in blocks)
    if quoted != sorted(pages) or text.count(BEGIN.split("{}", maxsplit=1)[0]) != len(blocks) or text.count(END) != len(blocks):
        return [f"{name} needs {BEGIN.format('PAGE')} and {END} once each for {', '.join(pages)}; it has them for {', '.join(quoted) or 'none'}"]
    found = []
    for path, block in blocks:
        there, lines = set(rows(pages[path])), rows(block)
        if len(lines) < 2:
            found.append(f"{name} quotes no row of {path}")
        found += [f"{name} has a row that {path} has not: {row}" for row in lines if row not in there]
    return found


def main(checkout):
    read = lambda path: (pathlib.Path(checkout) / path).read_text(encoding="utf-8")
    found = [line for name, paths in QUOTING.items()
             for line in complaints(name, read(name), {path: read(path) for path in paths})]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
