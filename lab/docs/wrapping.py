# SPDX-License-Identifier: Apache-2.0
"""Markdown with lines of at most 100 columns, for the scripts that write pages."""

import re

WIDTH = 100
# What a line does not break in: code, and links.
WHOLE = re.compile(r"(`[^`\n]{1,90}`|\[[^\]\n]{1,60}\]\([^)\n]*\))")


def words(text):
    out = [""]
    for i, part in enumerate(WHOLE.split(text)):
        if i % 2:
            out[-1] += part
            continue
        first, *rest = re.split(r"\s+", part)
        out[-1] += first
        out += rest
    return [word for word in out if word]


def fill(text, indent, hanging):
    lines = [""]
    for word in words(text):
        before = (hanging if len(lines) > 1 else indent) if not lines[-1] else lines[-1] + " "
        if lines[-1] and len(before + word) > WIDTH:
            lines.append(hanging + word)
        else:
            lines[-1] = before + word
    return lines


def folded(command):
    """A command of the shell over several lines, broken before options, results and redirections."""
    lines = [""]
    for part in re.split(r" (?=--|> |[\w-]+\.json |\S{60})", command):
        line = f"{lines[-1]} {part}" if lines[-1] else part
        if len(line) > WIDTH - 2 and lines[-1]:
            lines[-1] += " \\"
            lines.append("    " + part)
        else:
            lines[-1] = line
    return "\n".join(lines)


def wrapped(page):
    """The page with paragraphs and items of lists filled anew; all else as it is."""
    out, paragraph, in_code = [], None, False

    def flush():
        nonlocal paragraph
        if paragraph:
            out.extend(fill(" ".join(paragraph[2]), *paragraph[:2]))
        paragraph = None

    for line in page.split("\n"):
        text = line.strip()
        if text.startswith("```"):
            flush()
            in_code = not in_code
            out.append(line)
        elif in_code or not text or text[0] in "#|<" or text.startswith("!["):
            flush()
            out.append(line)
        elif item := re.match(r"(\s*)(\*|-|\d+\.) +(.*)", line):
            flush()
            indent, mark, rest = item.groups()
            paragraph = (f"{indent}{mark} ", " " * (len(indent) + len(mark) + 1), [rest])
        elif paragraph:
            paragraph[2].append(text)
        else:
            indent = line[: len(line) - len(line.lstrip())]
            paragraph = (indent, indent, [text])
    flush()
    return "\n".join(out)
