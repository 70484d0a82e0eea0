#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that README.md says of the results what their page says.

usage: lint_results.py CHECKOUT

The table rows between the lines BEGIN and END of README.md must be rows of docs/results.md, to the
letter.
"""

import pathlib
import sys

BEGIN, END = "<!-- rows of docs/results.md -->", "<!-- end of rows -->"


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]


def complaints(readme, page):
    """What is wrong with README.md, one line each."""
    parts = readme.split(BEGIN)
    if len(parts) != 2 or END not in parts[1]:
        return [f"README.md needs {BEGIN} and {END} once each"]
    quoted = rows(parts[1].split(END)[0])
    if len(quoted) < 2:
        return ["README.md quotes no row of docs/results.md"]
    there = set(rows(page))
    return [f"README.md has a row that docs/results.md has not: {row}" for row in quoted if row not in there]


def main(checkout):
    texts = [(pathlib.Path(checkout) / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md")]
    found = complaints(*texts)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
