#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the page lab/docs/accuracy.md of what asynclm-lab eval printed with --json.

usage: accuracy.py MODEL=RESULT.json... > lab/docs/accuracy.md

MODEL is the row's name. Results of the same tasks stand in one table.
"""

import contextlib
import io
import json
import math
import sys

from wrapping import wrapped

INTRO = """# Accuracy of the models

Our version of the paper's Table 1: how often calls are right in each mode. This page is written by `lab/docs/accuracy.py`; to make it again:
```
A="--model MODEL --threads 1 --mode sync,sync-parallel,async,async+ --json"
for l in 1 2 3 4 9 5 7; do
  ./dev lab eval --tasks TASKS --level $l --max-tokens 1500 $A > level$l.json
done
for l in 6 8; do
  ./dev lab eval --tasks TASKS --level $l --ctx 4096 --max-tokens 1500 $A > level$l.json
done
for f in parallel:parallel_400_mixed v3_multi_step_parallel:multi_step_parallel_200; do
  n=${f%%:*}
  T="--recordings DATA/$n.jsonl --only DATA/eval_sets.json#/split/eval_600/${f##*:}"
  T="$T --only-called --tasks RECORDED --ctx 4096 --max-tokens 2000"
  ./dev lab eval $T --calls-in-prompt $A > $n-given.json
  ./dev lab eval $T $A > $n.json
done
python3 lab/docs/accuracy.py NAME=level1.json … > lab/docs/accuracy.md
```
`MODEL` is one of these: *default* is `tests/data/toy.gguf` (version 13), *nano* is `lab/models/asynclm-nano.gguf`, which was trained on levels 1 to 5 only, *cheat-sheet* is `lab/models/asynclm-nano-cheat-sheet.gguf`, trained on level 6 only, and *default 12* is the default model's version before (of c3f793c). `DATA` holds recorded calls of the Berkeley Function Calling Leaderboard as JSON lines (`lab/oracle/recordings.h`).

The real engine decodes, greedily; tools take virtual time, so the same command prints the same.

* *Calls* are right if name and arguments are those of an expected call (for recorded calls: one of the accepted values). A wrong call also counts as one too many, and so does one that the user had withdrawn before it was made.
* *Runs* are right if all calls are, none comes before what it needs, no result is used before it came, the answer is right, and the run ends. Of a conversation the first task is run.
* *Levels* are kinds of synthetic tasks ([tiny-model.md](tiny-model.md#the-oracle)). Their functions and the words of their values were never seen in training; some parameters have common names ("path").
"""
LEVELS = {
    1: "level 1: one call",
    2: "level 2: several independent calls",
    3: "level 3: chains and errors",
    4: "level 4: two to five calls, tools that are alike",
    5: "level 5: the user interrupts, corrects, withdraws",
    6: "level 6: the calls stand in the prompt",
    7: "level 7: as level 5, with parts of results, an order, and wishes when to be told",
    8: "level 8: as level 6, with long lists and few words",
    9: "level 9: as level 4, with results of several values",
}


def title(source):
    if "level" in source:
        return LEVELS[source["level"]]
    names = ", ".join(name.removesuffix(".jsonl") for name in source["recordings"])
    given = "with the calls in the prompt" if source["calls_in_prompt"] else "without the calls in the prompt"
    tools = "; only functions that are called" if source["only_called"] else ""
    return f"BFCL {names}, {given}{tools}"


def percent(part, whole):
    return 100 * part / whole if whole else math.nan


def widest_margin(runs):
    """Half of a 95 % interval of the share of runs that are right, where half are, in points; the usual approximation, with
    a run added to each side."""
    return 100 * 1.96 * math.sqrt(0.25 / (runs + 2))


def shares_right(first, later):
    """Of each conversation that fitted into the context both times the shares of its tasks that are right, as pairs."""
    pairs = zip(first["right_runs"], later["right_runs"], strict=True)
    return [(100 * x[0] / x[1], 100 * y[0] / y[1]) for x, y in pairs if x and y]


def mean_and_margin(values):
    """The mean and half of a 95 % interval; the usual approximation, with a value of 100 added to each side."""
    mean = sum(values) / len(values)
    squares = sum((x - mean) ** 2 for x in [*values, 100, -100])
    return mean, 1.96 * math.sqrt(squares / (len(values) + 1) / (len(values) + 2))


def is_given(source):
    return source.get("calls_in_prompt", source.get("level") in (6, 8))


def print_gains(names, modes, tables):
    """The first model against each other one, on the tasks that both have."""
    print("\n## What the model gained\n\nPoints of runs over another model on the same tasks, and the 95 % interval.\n")
    print("| tasks | models | number | " + " | ".join(modes) + " |\n|---|---|---|" + "---|" * len(modes))
    for given, what in ((False, "calls to be found"), (True, "calls in the prompt")):
        for other in names[1:]:
            both = [(rows[other], rows[names[0]]) for rows in map(dict, tables.values())
                    if other in rows and names[0] in rows and is_given(rows[other]["source"]) == given]
            cells = []
            for mode in modes if both else ():
                pairs = [pair for one, new in both for pair in shares_right(one["modes"][mode], new["modes"][mode])]
                points, half = mean_and_margin([later - first for first, later in pairs])
                cells.append(f"{points:+.1f}, {points - half:+.1f} to {points + half:+.1f}")
            if both:
                print(f"| {what} | {names[0]} over {other} | {len(pairs)} | " + " | ".join(cells) + " |")


def main(arguments):
    tables = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not path:
            raise SystemExit(__doc__)
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        tables.setdefault(title(result["source"]), []).append((name, result))
    names = list(dict.fromkeys(name for rows in tables.values() for name, _ in rows))
    modes = list(dict.fromkeys(mode for rows in tables.values() for _, r in rows for mode in r["modes"]))
    first = {"level": None, "recordings": None}
    for rows in tables.values():
        for key in first:
            if key in rows[0][1]["source"]:
                first[key] = rows[0][1]["tasks"]
    print(INTRO.replace("RECORDED", str(first["recordings"])).replace("TASKS", str(first["level"])))
    print("## Calls and runs right\n")
    print("| tasks | model | " + " | ".join(modes) + " |\n|---|---|" + "---|" * len(modes))
    for source, rows in tables.items():
        for name, result in rows:
            cells = [f"{percent(s['calls_right'], s['calls']):.1f}, {percent(s['runs_right'], s['runs']):.1f}"
                     if (s := result["modes"].get(mode)) else "" for mode in modes]
            print(f"| {source} | {name} | " + " | ".join(cells) + " |")
            source = ""
    too_long = {r["modes"][m]["too_long"] for t in tables.values() for _, r in t for m in r["modes"]} - {0}
    if too_long:
        print(f"\nOf some rows up to {max(too_long)} tasks did not fit into the context and are left out.")
    print("\nCalls, runs, both in percent. Half of a 95 % interval of runs, where half are right: "
          + "; ".join(f"{widest_margin(n):.0f} points of {n}" for n in sorted({r["tasks"] for t in tables.values() for _, r in t})) + ".\n")
    print("## What asynchrony costs\n\n| tasks | model | async over sync, calls | runs |\n|---|---|---|---|")
    for source, rows in tables.items():
        for name, result in rows:
            a, s = result["modes"]["async"], result["modes"]["sync"]
            points = [round(percent(a[key + "_right"], a[key]) - percent(s[key + "_right"], s[key]), 1) + 0.0 for key in ("calls", "runs")]
            print(f"| {source} | {name} | {points[0]:+.1f} points | {points[1]:+.1f} points |")
            source = ""
    print("\nOver all tasks of the page, runs:\n")
    for name in names:
        modes_of = [r["modes"] for rows in tables.values() for n, r in rows if n == name]
        for mode in ("async", "async+"):
            pairs = [pair for result in modes_of for pair in shares_right(result["sync"], result[mode])]
            if not pairs:
                continue
            points, half = mean_and_margin([later - first for first, later in pairs])
            verdict = ("no difference is shown" if abs(points) <= half else
                       "it costs accuracy" if points < 0 else "it is the better one")
            of_sync, of_mode = (sum(shares) / len(pairs) for shares in zip(*pairs))
            print(f"* {name}, {mode}: {of_mode:.1f} % of {len(pairs)}, sync {of_sync:.1f} %: {points:+.1f} points, "
                  f"95 % interval of the difference on the same tasks {points - half:+.1f} to {points + half:+.1f}: {verdict}.")
    if len(names) > 1:
        print_gains(names, modes, tables)
    print("\n## What is wrong with the runs that are wrong\n\nThe first that holds: it did not end; a call with other arguments, or of another tool, in place of "
          "one that was to be made; a call missing; one too many; one too early; all calls right and the answer not.\n")
    kinds = ["unfinished", "argument", "tool", "missing", "extra", "early", "answer"]
    print("| tasks | model | mode | wrong of runs | " + " | ".join(kinds) + " |\n|---|---|---|---|" + "---|" * len(kinds))
    for source, rows in tables.items():
        for name, result in rows:
            for mode, score in result["modes"].items():
                cells = [str(score["failures"][kind] or "") for kind in kinds]
                print(f"| {source} | {name} | {mode} | {score['runs'] - score['runs_right']} of {score['runs']} | " + " | ".join(cells) + " |")
                source = name = ""
    print("\n## Other counts, of all tasks of the page\n")
    counts = [("right calls made before one that they come after", "early"),
              ("results used before they came", "invented"), ("interrupts forged", "forged"),
              ("calls refused", "refused"), ("wrong calls that are an earlier one once more", "repeated"),
              ("results told before all were there that were wanted together", "untimely")]
    scores = [[s for rows in tables.values() for n, r in rows if n == name for s in r["modes"].values()] for name in names]
    total = lambda key: [sum(s[key] for s in of_model) for of_model in scores]
    shares = lambda part, whole: [f"{percent(x, y):.1f} %" for x, y in zip(total(part), total(whole))]
    print("| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for text, values in [("runs", total("runs")), ("traps right", shares("traps_right", "traps")),
                         ("longest estimate first", shares("choices_right", "choices")),
                         *((text, total(key)) for text, key in counts)]:
        print(f"| {text} | " + " | ".join(map(str, values)) + " |")
    print("\n*Results used before they came* are wrong calls of a tool that was to take a result which was not there, and lines of the answer "
          "that report on a call of which the model had not been told.")
    print("\nThe default model was taught to call in the order in which the user asks, not the longest estimate first.")


if __name__ == "__main__":
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        main(sys.argv[1:])
    print(wrapped(page.getvalue()), end="")
