#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the pages: lengths of lines, links, and that files which they name exist.

usage: lint_docs.py CHECKOUT

* Prose and code have lines of at most 100 columns. A line that is one word longer than that, and
  lines of HTML, are let be.
* Rows of tables have at most 180 columns, and cells at most 100: a cell holds a phrase.
* Relative links lead to files that exist, and their anchors to headings.
* What stands in `backticks` and looks like a path of the tree exists: as seen from the checkout or
  from the page's folder.
"""

import pathlib
import re
import sys

WIDTH, ROW, CELL = 100, 180, 100
SUFFIXES = "cc|h|py|md|json|jsonl|txt|cmake|sh|gguf|svg|png|cml"
# Folders that a build or a training makes, and those of other projects.
ELSEWHERE = ("build/", ".env/", "lab/train/runs/", "bfcl_eval/")

LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
CODE = re.compile(r"`([^`\n]+)`")


def pages(checkout):
    for path in sorted(checkout.rglob("*.md")):
        relative = path.relative_to(checkout).as_posix()
        if not relative.startswith(("build/", ".")):
            yield path


def without_code(text):
    """The page's lines with those of fenced blocks emptied."""
    lines, in_code = [], False
    for line in text.split("\n"):
        is_fence = line.lstrip().startswith("```")
        lines.append("" if in_code or is_fence else line)
        in_code ^= is_fence
    return lines


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    found = {}
    for line in without_code(text):
        if match := re.match(r"#+ +(.*)", line):
            slug = re.sub(r"[^\w\- ]", "", match[1].lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {slug if i == 0 else f"{slug}-{i}" for slug, count in found.items() for i in range(count + 1)}


def length_complaints(text):
    in_code = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        is_row = line.startswith("|") and not in_code
        limit = ROW if is_row else WIDTH
        words = line.strip(" *\\").split()
        if len(line) > limit and not line.startswith("<") and len(words) > 1:
            yield number, f"has {len(line)} columns; {limit} are allowed"
        if is_row:
            for cell in re.split(r"(?<!\\)\|", line):
                if len(cell.strip()) > CELL:
                    yield number, f"a cell of {len(cell.strip())} characters; {CELL} are allowed"


def link_complaints(checkout, page, text):
    prose = "\n".join(CODE.sub(lambda m: " " * len(m[0]), line) for line in without_code(text))
    for match in LINK.finditer(prose):
        target = next(group for group in match.groups() if group)
        number = prose.count("\n", 0, match.start()) + 1
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(checkout):
            yield number, f"the link leads to {target}, which does not exist"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield number, f"the link leads to {target}, but {file.name} has no such heading"


def is_path(word, top):
    """Whether a word of code names a file or folder of the tree."""
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", word) or "/" not in word or word.startswith(ELSEWHERE):
        return False
    if re.match("[A-Z]+/", word):  # PREFIX/…, RUN/…: the reader's own
        return False
    return word.split("/")[0] in top or bool(re.search(rf"\.({SUFFIXES})$", word))


def path_complaints(checkout, page, text, top):
    for number, line in enumerate(without_code(text), 1):
        for code in CODE.findall(line):
            for word in code.split():
                if is_path(word, top):
                    folders = (checkout, page.parent, checkout / "include")
                    if not any(any(folder.glob(word.rstrip("/"))) for folder in folders):
                        yield number, f"names {word}, which does not exist"


def complaints(checkout):
    top = {path.name for path in checkout.iterdir() if path.is_dir()} - {"build"}
    for page in pages(checkout):
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(checkout)
        for number, complaint in (*length_complaints(text), *link_complaints(checkout, page, text),
                                  *path_complaints(checkout, page, text, top)):
            yield f"{name}:{number}: {complaint}"


def main(checkout):
    checkout = pathlib.Path(checkout).resolve()
    count = len(list(pages(checkout)))
    if not count:
        sys.exit(f"{checkout}: no pages found; give the checkout's folder")
    found = list(complaints(checkout))
    for complaint in found:
        print(complaint)
    print(f"{count} pages, {len(found)} complaints")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
