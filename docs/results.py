#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the page docs/results.md of what asynclm bench bfcl printed with --json.

usage: results.py RESULT.json... > docs/results.md

One section for each result. Pictures are shown that ./dev plot has made as docs/figures/bfcl-NAME,
NAME being the result's setting, or its kind.
"""

import json
import pathlib
import sys

FIGURES = pathlib.Path(__file__).parent / "figures"
PICTURES = {
    "latency": "Makespan of each arm: medians, lines from the 10th to the 90th percentile; the numbers are median speed-ups over sync",
    "sweep": "Speed-up over sync by E/G, with the paper's limit and what it is for so few calls",
    "timeline": "The calls of one sample in each arm",
    "arrivals": "The three tasks as messages 0, 200 and 400 ms apart",
    "features": "async+ without each of its features",
    "policies": "Makespans of mode async in different orders of the calls",
}
INTRO = """# Results of `asynclm bench bfcl`

The paper's experiments (section 6): recorded calls of the Berkeley Function Calling Leaderboard, which take the times of the data's table, in the paper's arms, in those that people use instead, and in ours. This page is written by `docs/results.py`; to make it again:
```
for s in SETTINGS; do
  ./dev asynclm bench bfcl --data DATA --setting $s --json > $s.json
done
PLOTpython3 docs/results.py RESULTS > docs/results.md
```
`DATA` is a folder of JSON lines as `src/oracle/traces.h` describes them, or `bfcl_eval/data` of the leaderboard's repository, which has the workloads parallel, multi-step and multi-turn only, no results and no times.

## What is measured
*Makespan*: from the moment at which the prompt is in the KV cache to the return of the last call (of several turns: their sum). The first prompt counts in no arm; what is computed again counts. The answer after the last return is the same in all arms and is left out. Each token passes through the real session, monitor included; what writes them is the oracle (`src/oracle/oracle.h`), so every arm makes the same calls with the same arguments, and the model's quality plays no part. It writes no line about each result, as the default model does: it only calls.

The tokens' time is of one of two kinds, and each section says which. *Simulated*: a decode step takes so long, and each token beyond one in it (prompts, results, forced tokens, drafts) so long; nothing depends on the machine, and the same command prints the same. *Forced*: a real engine computes each step and is kept to the oracle's tokens; a virtual clock moves by the time that this took.

| arm | |
|---|---|
| `sync-stateless` | what the paper calls Sync: each result is sent with the whole prompt, as a new request, and nothing is cached |
| `sync-stateless-docs` | the same with all that the data says of the functions in the prompt, besides the tool list |
| `sync` | the model waits for each call; the cache is kept |
| `sync-parallel` | calls are collected until the model stops, run together, all awaited |
| `eager` | the same, but each call starts when its block is written: the strongest ordinary practice |
| `async-naive`, `async-naive-cached` | async by an API: each interrupt is a new request, without and with a cache of the prompt. Simulated: no real server is asked |
| `async` | the paper: interrupts in the same sequence, longest estimate first |
| `async+` | futures, order, selective waits, forced tokens, drafts; longest remaining path first |

*Bound*: for each run the fastest schedule of its calls with the times that it took to write each one, and in async+ with the forms by which a call is written before its predecessor returns. Exact by branch and bound up to 12 calls, else the critical-path bound. It counts no traps and nothing that taking in results costs: on a small model and a CPU that is much. Speed-ups are medians of ratios paired by sample, with 95 % intervals of the bootstrap.
"""


def cell(estimate):
    return f"{estimate['median']:.2f} ({estimate['low']:.2f}–{estimate['high']:.2f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def arm_of(entry, name):
    return next((a for a in entry["arms"] if a["name"] == name), None)


def picture(name, part):
    if not (FIGURES / f"bfcl-{name}-{part}-light.svg").exists():
        return ""
    where = f"figures/bfcl-{name}-{part}"
    return (f'<picture><source media="(prefers-color-scheme: dark)" srcset="{where}-dark.svg">'
            f'<img alt="{PICTURES[part]}" src="{where}-light.svg"></picture>\n')


def latency(entries, base):
    """Median makespans and speed-ups: a row for each arm, a column for each workload."""
    names = list(dict.fromkeys(a["name"] for e in entries for a in e["arms"]))
    rows = []
    for name in names:
        row = [f"`{name}`"]
        for entry in entries:
            arm = arm_of(entry, name)
            over = arm["speed_up"].get(base) if arm else None
            row.append("" if arm is None else f"{arm['makespan_ms']['p50']:.0f}" + (f", {over['median']:.2f}" if over else ""))
        rows.append(row)
    return table(["median ms, speed-up"] + [f"{e['workload']} ({e['samples']})" for e in entries], rows)


def headline(entries):
    """What the arms of the paper and ours gain over those that ordinary clients are."""
    rows = []
    for entry in entries:
        for name in ("async", "async+"):
            arm = arm_of(entry, name)
            if arm is None:
                continue
            over = arm["speed_up"]
            parallel = over.get("sync-parallel")
            bound = arm.get("over_bound")
            rows.append([entry["workload"], f"`{name}`"] +
                        [cell(over[b]) if b in over else "" for b in ("sync", "sync-stateless", "sync-stateless-docs")] +
                        [f"{parallel['median']:.2f}, {parallel['worst']:.2f}" if parallel else "",
                         f"{bound['p50']:.3f}, {bound['p90']:.3f}" if bound else ""])
    return table(["", "", "over sync", "over sync-stateless", "… with documents", "over sync-parallel: median, worst",
                  "makespan / bound: p50, p90"], rows)


def overhead(entry, kv_bytes):
    plain = arm_of(entry, "sync")
    rows = []
    for arm in entry["arms"]:
        call = arm["a_call"]
        more = call["tokens"] - plain["a_call"]["tokens"]
        rows.append([f"`{arm['name']}`", f"{call['tokens']:.1f}", f"{call['protocol_tokens']:.1f}", f"{more:+.1f}",
                     f"{more * kv_bytes / 1024:+.0f}" if kv_bytes else "", f"{call['decode_calls']:.1f}",
                     f"{call['writing_ms']:.0f}"])
    return table(["a call, multi-step-parallel", "tokens", "of these protocol", "more than sync", "… KiB of KV cache",
                  "decode calls", "ms to write it"], rows)


PAPER = [
    ("parallel: Sync-Parallel over Sync", "1.3, cloud 1.7", "parallel", "sync-parallel"),
    ("parallel: Async over Sync", "1.6, cloud 2.1", "parallel", "async"),
    ("multi-step parallel: Sync-Parallel over Sync", "up to 3.2", "multi-step-parallel", "sync-parallel"),
    ("multi-step parallel: Async over Sync", "up to 5.4", "multi-step-parallel", "async"),
    ("… of samples with disjoint classes", "", "multi-step-parallel-disjoint", "async"),
    ("… and longer", "", "multi-step-parallel-long", "async"),
    ("interrupts every 200 ms: Sync-Parallel over Sync", "1.1", "arrivals-200", "sync-parallel"),
    ("interrupts every 200 ms: Async over Sync", "2.4", "arrivals-200", "async"),
]


def against_the_paper(results):
    """The paper's ratios beside ours over each of the arms that its Sync could be."""
    rows = []
    for says, paper, workload, name in PAPER:
        row = [says, paper]
        for result in results:
            entry = next((e for e in result.get("latency", []) if e["workload"] == workload), None)
            arm = arm_of(entry, name) if entry else None
            bases = ("sync", "sync-stateless", "sync-stateless-docs")
            row.append(", ".join(f"{arm['speed_up'][b]['median']:.2f}" for b in bases if b in arm["speed_up"]) if arm else "")
        rows.append(row)
    orders = ["mode async: longest first over random order, time", "0.92"]
    for result in results:
        entry = next((e for e in result.get("policies", []) if e["workload"] == "multi-step-parallel"), None)
        total = {a["name"]: sum(a["makespans_ms"]) for a in entry["arms"]} if entry else None
        orders.append(f"{total['lpt'] / total['random']:.2f}" if total else "")
    names = [r.get("setting", r["kind"]) for r in results]
    return ("## Beside the paper's figures\nThe paper's Sync sends a request for each call. What of its ratios is the repeated "
            "prompt is seen by what they are over: in each cell over `sync`, over `sync-stateless`, and, where a prompt's "
            "tokens cost something, over `sync-stateless-docs`. The other arms keep their cache in all of these.\n\n" +
            table(["", "the paper says"] + [f"`{n}`" for n in names], rows + [orders]) + """
Why ours differ, where they do:
* *parallel*: a sample calls one function two to four times, so all its calls take as long, every order is the best one, and `eager` is as good as `async`. What is left to gain is the writing.
* *multi-step*: most first turns are one call, and the others are chains; there is little to run side by side.
* *multi-step-parallel*: three chains side by side. Here a barrier costs, and the order of the calls counts: the longest call first is not the longest chain first.
* *arrivals*: the last task is said 400 (or 800) ms after the first, which no arm can beat, and the sync arms have worked off the first tasks by then where the model is fast. What the paper's Sync loses there is mostly the repeated prompt.
""")


def described(result):
    if result["kind"] == "simulated":
        text = (f"Simulated: {result['says']}. A decode step takes {result['token_ms']:g} ms, each further token in it "
                f"{result['prefill_ms_a_token']:g} ms, a request {result['request_ms']:g} ms besides. Vocabulary of "
                f"{result['vocabulary']:,} tokens.")
    else:
        machine = result["machine"]
        text = (f"Forced: {result['model']}, {result['library']}, {result['threads']} thread(s) of {machine['processor']} "
                f"({machine['cores']} cores); load {machine['load_average']:.2f}, equal work took up to "
                f"{machine['calibration_spread']:.2f} times as long.")
        if machine["is_loaded"]:
            text += " **The machine was loaded**: ratios of arms tell something, single times little."
    if result["only_called_tools"]:
        text += " The prompts list only the functions that are called."
    if result["without"]:
        text += f" async+ without {', '.join(result['without'])}."
    return text + f" asynclm {result['version']}, seed {result['seed']}{', --quick' if result['quick'] else ''}."


def section(result):
    name = result.get("setting", result["kind"])
    out = [f"## {'Setting' if 'setting' in result else 'Kind'} `{name}`\n\n{described(result)}\n"]
    entries = result.get("latency", [])
    whole = [e for e in entries if not e["workload"].startswith("arrivals")]
    arrivals = [e for e in entries if e["workload"].startswith("arrivals")]
    if whole:
        out += [headline(whole), latency(whole, "sync"), picture(name, "latency")]
    for entry in entries:
        if entry["skipped"]:
            out.append(f"Of {entry['workload']} {len(entry['skipped'])} sample(s) are left out in all arms; the first: `{entry['skipped'][0]}`\n")
    if "sweep" in result:
        equal = [e for e in result["sweep"] if e["ratio"] == 1]
        out.append("### Function times against writing times\nWith function times scaled so that their mean is the mean time to "
                   "write a call (E = G):\n")
        out += [headline(equal), picture(name, "sweep")]
    if arrivals:
        out.append("### Tasks that arrive as the user's interrupts\nIn the sync arms and in `eager` a message waits for the end of "
                   "the turn. The makespan counts from the first message, so no arm is below the last arrival.\n")
        out += [headline(arrivals), latency(arrivals, "sync"), picture(name, "arrivals")]
    if "ablation" in result:
        rows = []
        for entry in result["ablation"]:
            for arm in entry["arms"]:
                if arm["name"] != "sync":
                    rows.append([entry["workload"], arm["name"], cell(arm["speed_up"]["sync"]),
                                 f"{arm['a_call']['writing_ms']:.0f}"])
        out += ["### Features of async+\n", table(["", "", "over sync", "ms to write a call"], rows), picture(name, "features")]
    if "policies" in result:
        rows = []
        for entry in result["policies"]:
            mean = {a["name"]: sum(a["makespans_ms"]) / len(a["makespans_ms"]) for a in entry["arms"]}
            for arm in entry["arms"]:
                rows.append([entry["workload"], arm["name"], f"{arm['makespan_ms']['p50']:.0f}",
                             f"{mean[arm['name']] / mean['random']:.3f}",
                             f"{arm['over_bound']['p50']:.3f}, {arm['over_bound']['p90']:.3f}"])
        out += ["### Orders of the calls, mode async\n",
                table(["", "", "median ms", "mean over random's", "makespan / bound: p50, p90"], rows), picture(name, "policies")]
    main = next((e for e in whole if e["workload"] == "multi-step-parallel" and arm_of(e, "sync")), None)
    if main:
        out += ["### Overhead\n", overhead(main, result.get("kv_bytes_a_token", 0))]
    if "timeline" in result:
        out += [picture(name, "timeline")]
    return "\n".join(part for part in out if part)


def main(paths):
    results = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                results.append(json.load(file))
            if results[-1]["figure"] != "bfcl":
                raise ValueError("it is of another bench")
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.exit(f"results: {path} is not what asynclm bench bfcl prints with --json ({error!r})")
    settings = " ".join(r["setting"] for r in results if "setting" in r)
    names = " ".join(f"{r['setting']}.json" if "setting" in r else f"{r['kind']}.json" for r in results)
    plots = [n for n in names.split() if picture(n.removesuffix(".json"), "latency")]
    plot = "".join(f"./dev plot {n} docs/figures/bfcl-{n.removesuffix('.json')}\n" for n in plots)
    print(INTRO.replace("SETTINGS", settings).replace("RESULTS", names).replace("PLOT", plot))
    print(against_the_paper(results))
    print("\n".join(section(r) for r in results), end="")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
