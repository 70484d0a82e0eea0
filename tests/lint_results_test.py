#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lint of quoted numbers says what is wrong with some."""

import unittest

from lint_results import BEGIN, END, complaints

PAGES = {
    "docs/results.md": "# Results\n| | sync |\n|---|---|\n| `async` | 1.57 |\n| `async+` | 2.87 |\n",
    "docs/accuracy.md": "# Accuracy\n| tasks | sync |\n|---|---|\n| level 1 | 98.3 |\n",
}
SPEED, ACCURACY = (BEGIN.format(page) for page in PAGES)


def found(*lines, pages=PAGES):
    return complaints("README.md", "\n".join(["# asynclm", *lines, "| of another page | 7 |"]), pages)


def only(path):
    return {path: PAGES[path]}


class LintResults(unittest.TestCase):
    def test_rows_of_their_pages_are_right(self):
        self.assertEqual(found(SPEED, "| | sync |", "|---|---|", "| `async` | 1.57 |", END,
                               ACCURACY, "| tasks | sync |", "|---|---|", "| level 1 | 98.3 |", END), [])

    def test_other_numbers_are_found(self):
        lines = found(SPEED, "| | sync |", "| `async` | 1.75 |", END, ACCURACY, "| tasks | sync |", "| level 1 | 98.4 |", END)
        self.assertEqual(len(lines), 2)
        self.assertIn("1.75", lines[0])
        self.assertIn("98.4", lines[1])

    def test_a_row_of_another_page_is_found(self):
        lines = found(ACCURACY, "| tasks | sync |", "| `async` | 1.57 |", END, pages=only("docs/accuracy.md"))
        self.assertEqual(len(lines), 1)
        self.assertIn("1.57", lines[0])

    def test_a_page_that_is_not_quoted_is_found(self):
        lines = [ACCURACY, "| tasks | sync |", "| level 1 | 98.3 |", END]
        self.assertEqual(found(*lines, pages=only("docs/accuracy.md")), [])
        self.assertIn("docs/results.md", found(*lines)[0])
        self.assertTrue(found(*lines, *lines, pages=only("docs/accuracy.md")))

    def test_a_page_that_is_not_there_is_found(self):
        self.assertIn("docs/none.md", found(BEGIN.format("docs/none.md"), "| a |", "| b |", END)[0])

    def test_nothing_quoted_is_no_success(self):
        self.assertTrue(found())
        self.assertTrue(found(SPEED, END, pages=only("docs/results.md")))
        self.assertTrue(found(SPEED, pages=only("docs/results.md")))
        self.assertTrue(found(SPEED, "| | sync |", "| `async` | 1.57 |", ACCURACY, "| tasks | sync |", "| level 1 | 98.3 |", END))


if __name__ == "__main__":
    unittest.main()
