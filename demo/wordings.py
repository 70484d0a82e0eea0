#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks for the demonstration's task in random words, and counts in how many of them the model is right.

usage, after './dev build release': ./dev shell -c 'python3 demo/wordings.py SEED COUNT'

A run is right that makes the five calls with the right arguments and no other, all of which return, whose
answer has one line for each, with its result, and that ends by itself. The tools run for real.
"""

import json
import pathlib
import random
import subprocess
import sys

DEMO = pathlib.Path(__file__).parent
PROGRAM = DEMO.parent / "build" / "release" / "asynclm"
PARTS = ["count the primes below 300000", "measure the disk usage of lab", "count the lines of CMakeLists.txt"]
GIVEN = {"count_primes": 300000, "disk_usage": "lab", "count_lines": "CMakeLists.txt", "largest_file": "demo"}


def wording(rng):
    then = rng.choice([", then ", " and then ", ", and then ", " and from that "])
    of = rng.choice(["the result", "its result", "it"])
    parts = [*PARTS, f"find the largest file in demo{then}compute the checksum of {of}"]
    rng.shuffle(parts)
    between, last = rng.choice([(", ", ", and "), ("; ", "; "), (". ", ". "), (", ", " and ")])
    before = rng.choice(["", "", "", "please ", "can you ", "I need you to ", "do this: ", "I want this: "])
    return before + between.join(parts[:-1]) + last + parts[-1] + rng.choice([".", ".", ".", "", "?", ". Thanks.", "!"])


def is_right(run):
    calls = {call["name"]: call for call in run["calls"]}
    if sorted(call["name"] for call in run["calls"]) != sorted([*GIVEN, "checksum"]) or run["finish_reason"] != "stop":
        return False
    expected = {**GIVEN, "checksum": calls["largest_file"]["result"]}
    lines = run["answer"].splitlines()
    return len(lines) == len(expected) and all(
        list(call["arguments"].values()) == [expected[name]] and call["outcome"] == "returned"
        and any(line.endswith(": " + call["result"]) for line in lines)
        for name, call in calls.items())


def main(seed, count):
    rng = random.Random(seed)
    right, in_all = {}, 0
    for _ in range(count):
        text = wording(rng)
        command = [PROGRAM, "run", "--compare", "--json", "--tools", DEMO / "tools.json", text]
        done = subprocess.run(command, capture_output=True, text=True, cwd=DEMO.parent)
        if not done.stdout:
            raise SystemExit(done.stderr)
        runs = {run["mode"]: is_right(run) for run in json.loads(done.stdout)["runs"]}
        for mode, it_is in runs.items():
            right[mode] = right.get(mode, 0) + it_is
        wrong = [mode for mode, it_is in runs.items() if not it_is]
        in_all += not wrong
        print("wrong in " + ", ".join(wrong) if wrong else "right", text, sep="  ", flush=True)
    print(f"of {count}: " + ", ".join(f"{mode} {n}" for mode, n in right.items()) + f", all {in_all}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not all(argument.isdecimal() for argument in sys.argv[1:]):
        sys.exit(__doc__)
    main(*map(int, sys.argv[1:]))
