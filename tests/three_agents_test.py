#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example of three agents. Usage: three_agents_test.py PROGRAM SOURCE_DIR [unittest arguments]"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = ""
MODEL = Path()


def run(*args):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=600)


class ThreeAgents(unittest.TestCase):
    def test_the_play(self):
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.json"
            result = run("--trace", trace)
            self.assertEqual(result.returncode, 0, result)
            for words in ("planner -> reader: Send the numbers", "reader -> calculator: 12 and 30",
                          "calculator -> planner: The total is 42.", "The report says 42."):
                self.assertIn(words, result.stdout)
            events = json.loads(trace.read_text())["traceEvents"]
        names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
        self.assertEqual(len(names), 3)
        for agent in ("planner", "reader", "calculator"):
            self.assertTrue(any(agent in name for name in names), names)
        starts = {e["id"]: e for e in events if e["ph"] == "s"}
        ends = {e["id"]: e for e in events if e["ph"] == "f"}
        self.assertEqual(len(starts), 3)
        self.assertEqual(starts.keys(), ends.keys())
        for arrow, start in starts.items():
            self.assertLessEqual(start["ts"], ends[arrow]["ts"])
            self.assertNotEqual(start["pid"], ends[arrow]["pid"])

    def test_with_the_default_model(self):
        if not MODEL.is_file():
            self.skipTest(f"{MODEL} does not exist")
        result = run("--model", MODEL)
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("was not taught to write to others", result.stdout)
        for agent in ("planner (", "reader (", "calculator ("):
            self.assertIn(agent, result.stdout)

    def test_wrong_options(self):
        for args in (["--dance"], ["--dance", "x"], ["--model"], ["--model", "/no/model.gguf"]):
            self.assertEqual(run(*args).returncode, 2, args)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv[1])
    MODEL = Path(sys.argv[2]) / "models" / "asynclm.gguf"
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
