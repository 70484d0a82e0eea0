#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lint of the numbers in README.md says what is wrong with some."""

import unittest

from lint_results import BEGIN, END, complaints

PAGE = "# Results\n| | sync |\n|---|---|\n| `async` | 1.57 |\n| `async+` | 2.87 |\n"


def readme(*lines):
    return "\n".join(["# asynclm", BEGIN, *lines, END, "| of another page | 7 |"])


class LintResults(unittest.TestCase):
    def test_rows_of_the_page_are_right(self):
        self.assertEqual(complaints(readme("| | sync |", "|---|---|", "| `async` | 1.57 |"), PAGE), [])

    def test_other_numbers_are_found(self):
        found = complaints(readme("| | sync |", "|---|---|", "| `async` | 1.75 |"), PAGE)
        self.assertEqual(len(found), 1)
        self.assertIn("1.75", found[0])

    def test_nothing_quoted_is_no_success(self):
        self.assertTrue(complaints(readme(), PAGE))
        self.assertTrue(complaints("# asynclm\n" + BEGIN, PAGE))
        self.assertTrue(complaints("# asynclm\n", PAGE))


if __name__ == "__main__":
    unittest.main()
