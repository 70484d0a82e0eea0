#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the page lab/docs/results.md of what asynclm-lab bench bfcl printed with --json.

usage: results.py RESULT.json... > lab/docs/results.md

One section for each result, those of real decoding first. Pictures are shown that ./dev plot has
made as lab/docs/figures/bfcl-NAME, NAME being the result's setting, or its kind.
"""

import json
import os
import pathlib
import statistics
import sys

from wrapping import folded, wrapped

FIGURES = pathlib.Path(__file__).parent / "figures"
PICTURES = {
    "latency": "Makespan of each arm: medians, lines from the 10th to the 90th percentile; the numbers are median speed-ups over sync",
    "sweep": "Speed-up over sync by E/G, with the paper's limit and what it is for so few calls",
    "timeline": "The calls of one sample in each arm",
    "arrivals": "The three tasks as messages 0, 200 and 400 ms apart",
    "features": "async+ without each of its features",
    "policies": "Makespans of mode async in different orders of the calls",
}
INTRO = """# Results of `asynclm-lab bench bfcl`

The paper's experiments (section 6): recorded calls of the Berkeley Function Calling Leaderboard, which take the times of the data's table, in the paper's arms, in those that people use instead, and in ours. This page is written by `lab/docs/results.py`; to make it again:
```
COMMANDS
```
`DATA` is a folder of JSON lines as `lab/oracle/recordings.h` describes them, or `bfcl_eval/data` of the leaderboard's repository, which has the workloads parallel, multi-step and multi-turn only, no results and no times.

## What is measured
*Makespan*: from the moment at which the prompt is in the KV cache to the return of the last call (of several turns: their sum). The first prompt counts in no arm; what is computed again counts. The answer after the last return is the same in all arms and is left out. Each token passes through the real session, monitor included.

Who writes the tokens, and what they cost, is of one of three kinds, and each section says which.

* *Simulated*: the oracle writes (`lab/oracle/oracle.h`), so every arm makes the same calls with the same arguments, and the model's quality plays no part; it writes no line about each result, it only calls. A decode step takes so long, and each token beyond one in it (prompts, results, forced tokens, drafts) so long; nothing depends on the machine, and the same command prints the same.
* *Forced*: the oracle writes, a real engine computes each step and is kept to its tokens; a virtual clock moves by the time that this took.
* *Real*: the model writes what it wants, greedily. As in the paper its prompt lists the calls, in the arm's order, each with those that it comes after (`lab/oracle/cheat_sheet.h`), or it does not (`--no-calls-in-prompt`). The clock is that of *forced*. A model makes mistakes: a run is *right* if it made each call once with a right name and right arguments, none before what it comes after, none besides, and ended by itself. Times are of right runs only, a speed-up is over the samples that are right in both arms, and how many these are stands in a table of its own.

The arms:

* `sync-stateless`: what the paper calls Sync. Each result is sent with the whole prompt, as a new request, and nothing is cached.
* `sync-stateless-docs`: the same with all that the data says of the functions in the prompt, besides the tool list.
* `sync`: the model waits for each call; the cache is kept.
* `sync-parallel`: calls are collected until the model stops, run together, all awaited.
* `eager`: the same, but each call starts when its block is written. It is the strongest ordinary practice.
* `async-naive`, `async-naive-cached`: async by an API. Each interrupt is a new request, without and with a cache of the prompt. Simulated; no real server is asked.
* `naive-server`, `naive-server-cached`: the same with a real `llama-server` of the same model and threads, asked over HTTP. It streams tokens, a parser reads them and starts calls, and a result ends the stream and begins a new request with the whole context. Its prompt cache is used for the first prompt only, or for all. Kind real only.
* `async`: the paper. Interrupts in the same sequence, longest estimate first.
* `async-wall`: the same on the server's clock (below). Kind real only.
* `async+`: futures, order, selective waits, jump-forward, drafts, results only when the model pauses; longest remaining path first.

*Clocks.* In all arms but three the tools' times are added to a clock that moves by what decoding and the session take. A server works when it wants, so its arms have the machine's clock, and their tools are timers. That clock also has what the other leaves out: the system's delays in waking up. `async-wall` is `async` on that clock: what it takes beyond `async` is what the server's arms are charged for the clock and not for being a server, so they are fairly compared with `async-wall`, and with the others as far as that is near to `async`.

*Bound*: for each right run the fastest schedule of its calls with the times that it took to write each one, and in async+ with the forms by which a call is written before its predecessor returns. Exact by branch and bound up to 12 calls, else the critical-path bound. No order of the same writing beats it. It counts no traps and nothing that taking in results costs. The second bound (*taking in*) also counts what cannot be helped of that: a result that a later call needs has to be in the context before that call is written, which keeps the model busy for as long as it did in this run; results that no call needs count nothing, since they could wait until all is written. Where results cost nothing to take in, and in async+, which names results instead of waiting for them, the two are the same. Speed-ups are medians of ratios paired by sample, with 95 % intervals of the bootstrap.
"""


def cell(estimate):
    return f"{estimate['median']:.2f} ({estimate['low']:.2f}–{estimate['high']:.2f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def arm_of(entry, name):
    """The arm, if any of its runs is right."""
    return next((a for a in entry["arms"] if a["name"] == name and "makespan_ms" in a), None)


def paired(entry, name, base):
    """Makespans of two arms, of the samples that are right in both."""
    arms = [next((a for a in entry["arms"] if a["name"] == n), None) for n in (name, base)]
    if None in arms:
        return []
    return [(a, b) for a, b in zip(*(arm["makespans_ms"] for arm in arms)) if a is not None and b is not None]


def name_of(result):
    """The setting; else the kind, and what its workload is named, or all of them begin with."""
    workloads = [entry["workload"] for entry in result.get("latency", [])]
    return result.get("setting", f"{result['kind']}-{os.path.commonprefix(workloads)}".strip("-"))


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
            bounds = [arm.get(b) for b in ("over_bound", "over_bound_taking_in")]
            rows.append([entry["workload"], f"`{name}`"] +
                        [cell(over[b]) if b in over else "" for b in ("sync", "sync-stateless", "sync-stateless-docs")] +
                        [f"{parallel['median']:.2f}, {parallel['worst']:.2f}" if parallel else ""] +
                        [f"{b['p50']:.3f}, {b['p90']:.3f}" if b else "" for b in bounds])
    return table(["", "", "over sync", "over sync-stateless", "… with documents", "over sync-parallel: median, worst",
                  "makespan / bound: p50, p90", "… taking in"], rows)


def right_runs(entries):
    """Of a model that decides: what it made of the calls."""
    names = list(dict.fromkeys(a["name"] for e in entries for a in e["arms"]))
    rows = []
    for name in names:
        row = [f"`{name}`"]
        for entry in entries:
            score = next((a["score"] for a in entry["arms"] if a["name"] == name), None)
            row.append(f"{100 * score['exact_share']:.1f}, {100 * score['right_share']:.1f}, "
                       f"{len(paired(entry, name, 'sync'))}" if score else "")
        rows.append(row)
    return table(["calls exact %, runs right %, samples right here and in sync"] +
                 [f"{e['workload']} ({e['samples']})" for e in entries], rows)


def clocks(entries):
    """What the machine's clock adds, and what a server takes beyond that."""
    rows = []
    for entry in entries:
        row = [entry["workload"]]
        for name, base in (("async-wall", "async"), ("naive-server", "async-wall"), ("naive-server-cached", "async-wall")):
            ratios = [a / b for a, b in paired(entry, name, base)]
            row.append(f"{statistics.median(ratios):.2f} ({len(ratios)})" if ratios else "")
        rows.append(row)
    return table(["median of paired ratios (samples)", "async-wall over async", "naive-server over async-wall",
                  "naive-server-cached over async-wall"], rows)


def overhead(entry, kv_bytes):
    plain = arm_of(entry, "sync")
    rows = []
    for arm in entry["arms"]:
        if "a_call" not in arm:
            continue
        call = arm["a_call"]
        more = call["tokens"] - plain["a_call"]["tokens"]
        rows.append([f"`{arm['name']}`", f"{call['tokens']:.1f}", f"{call['protocol_tokens']:.1f}", f"{more:+.1f}",
                     f"{more * kv_bytes / 1024:+.0f}" if kv_bytes else "", f"{call['decode_calls']:.1f}",
                     f"{call['writing_ms']:.0f}"])
    return table(["a call, multi-step-parallel", "tokens", "of these protocol", "more than sync", "… KiB of KV cache",
                  "decode calls", "ms to write it"], rows)


def over_random(entry, name):
    """Time of an order over random's, of the samples that are right in both."""
    times = paired(entry, name, "random")
    return sum(a for a, _ in times) / sum(b for _, b in times) if times else None


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
        orders.append(f"{over_random(entry, 'lpt'):.2f}" if entry and over_random(entry, "lpt") else "")
    names = [name_of(r) for r in results]
    return ("## Beside the paper's figures\nThe paper's Sync sends a request for each call. What of its ratios is the repeated "
            "prompt is seen by what they are over: in each cell over `sync`, over `sync-stateless`, and, where a prompt's "
            "tokens cost something, over `sync-stateless-docs`. The other arms keep their cache in all of these.\n\n" +
            table(["", "the paper says"] + [f"`{n}`" for n in names], rows + [orders]) + """
Why ours differ, where they do:

* *parallel*: a sample calls one function two to four times, so all its calls take as long, every order is the best one, and `eager` is as good as `async`. What is left to gain is the writing.
* *multi-step*: most first turns are one call, and the others are chains; there is little to run side by side.
* *multi-step-parallel*: three chains side by side. Here a barrier costs, and the order of the calls counts: the longest call first is not the longest chain first.
* *arrivals*: the last task is said 400 (or 800) ms after the first, which no arm can beat, and the sync arms have worked off the first tasks by then where the model is fast. What the paper's Sync loses there is mostly the repeated prompt.
* *real*, `async+`: what is forced or drafted comes in batches, which save nothing on this CPU: libggml 0.27 computes attention for fewer than 64 queries one by one, and for this model that is most of a step (`llama-bench -m lab/models/asynclm-nano.gguf -p 1,8,32,64 -d 800 -t 1 -fa 1`: 411, 466, 464 and 2,277 tokens a second). What it gains there it gains by futures, order, and results that enter only when the model pauses. With a GPU's costs batches are nearly free (the settings).
* *real*, without the calls in the prompt: neither model of ours makes enough right calls for a speed to be measured (`lab/docs/accuracy.md`).
""")


def over(base, kind="median"):
    return lambda arm: arm["speed_up"].get(base, {}).get(kind)


def to_bound(arm):
    return arm.get("over_bound", {}).get("p50")


# What this project wants to reach: what it is, the part and the workload, a value of an arm, the aim, whether more is better.
AIMS = [
    ("E = G, parallel: async over sync", "sweep", "parallel", "async", over("sync"), 1.5, True),
    ("E = G, parallel: async+ over sync", "sweep", "parallel", "async+", over("sync"), 2.3, True),
    ("E = G, multi-step-parallel: async over sync", "sweep", "multi-step-parallel", "async", over("sync"), 1.5, True),
    ("E = G, multi-step-parallel: async+ over sync", "sweep", "multi-step-parallel", "async+", over("sync"), 2.5, True),
    ("the table's times, multi-step-parallel: async over sync-stateless", "latency", "multi-step-parallel", "async",
     over("sync-stateless"), 5.4, True),
    ("parallel: async, makespan / bound", "latency", "parallel", "async", to_bound, 1.05, False),
    ("parallel: async+, makespan / bound", "latency", "parallel", "async+", to_bound, 1.05, False),
    ("multi-step-parallel: async, makespan / bound", "latency", "multi-step-parallel", "async", to_bound, 1.05, False),
    ("multi-step-parallel: async+, makespan / bound", "latency", "multi-step-parallel", "async+", to_bound, 1.05, False),
    ("interrupts every 200 ms: async over sync", "latency", "arrivals-200", "async", over("sync"), 2.4, True),
    ("… over sync-stateless", "latency", "arrivals-200", "async", over("sync-stateless"), 2.4, True),
    ("worst sample of parallel: async over sync-parallel", "latency", "parallel", "async", over("sync-parallel", "worst"), 0.98, True),
    ("worst sample of multi-step-parallel: the same", "latency", "multi-step-parallel", "async", over("sync-parallel", "worst"),
     0.98, True),
]


def value_of(results, part, workload, name, value):
    """Of the first result that has it."""
    for result in results:
        for entry in result.get(part, []):
            arm = arm_of(entry, name) if entry["workload"] == workload and entry.get("ratio", 1) == 1 else None
            if arm and value(arm) is not None:
                return value(arm)
    return None


def against_the_aims(results):
    real = [r for r in results if r["kind"] == "real"]
    simulated = [r for r in results if r["kind"] == "simulated"]
    columns = [("real", real)] * bool(real) + [(f"`{name_of(r)}`", [r]) for r in simulated]
    rows = []
    for says, *where, aim, more in AIMS:
        row = [says, f"{'≥' if more else '≤'} {aim:g}"]
        for _, those in columns:
            reached = value_of(those, *where)
            is_met = reached is not None and (reached >= aim if more else reached <= aim)
            row.append("" if reached is None else f"{reached:.2f}" if is_met else f"**{reached:.2f}**")
        rows.append(row)
    return ("## Beside our aims\nMedians of samples that are right in both arms; what is missed is in bold.\n\n" +
            table(["", "aim"] + [name for name, _ in columns], rows) + """
Why, and what is next:

* *E = G, parallel, async+, real*: two or three calls of one function; what async+ can do for them is to write them faster, and on this CPU it cannot (batches, below). Next: the same on a GPU.
* *E = G, parallel, simulated*: all calls of a sample take as long, and `async` is at its bound: no schedule of the same writing is faster.
* *multi-step-parallel, async, makespan / bound*: the model takes in each result as it comes, between two calls, and the bound leaves that out (with it: the column *taking in* of the section); it also writes a trap and its end where it has nothing to call, and now and then waits where it could call. async+ takes results in when it has nothing to write. Next: the same for `async`, where no call that is not yet written needs the result.
* *interrupts*: see *arrivals* below: the last message comes after 400 ms, and the sync arms have nearly done with the first by then. Over the paper's Sync, which sends everything anew, it is met where sending and computing a prompt takes long.
* *over sync-stateless, simulated*: a GPU computes a prompt much faster than a core, so the repeated prompt weighs less; with the functions' documents in it, and of tasks of disjoint classes, see below.
* *worst samples, real*: they are the machine's, which others use: in the worst two `async` and `sync-parallel` decode as many steps (78 and 78, 270 and 270), of which the one took 163 and 1,319 ms for what took the other 72 and 814; in `async-wall`, the same once more, it took 133 and 799. Where nothing is measured no sample is slower.
""")


def described(result):
    if result["kind"] == "simulated":
        text = (f"Simulated: {result['says']}. A decode step takes {result['token_ms']:g} ms, each further token in it "
                f"{result['prefill_ms_a_token']:g} ms, a request {result['request_ms']:g} ms besides. Vocabulary of "
                f"{result['vocabulary']:,} tokens.")
    else:
        machine = result["machine"]
        text = (f"{result['kind'].capitalize()}: {result['model']}, {result['library']}, {result['threads']} thread(s) of {machine['processor']} "
                f"({machine['cores']} cores); load {machine['load_average']:.2f}, equal work took up to "
                f"{machine['calibration_spread']:.2f} times as long.")
        if machine["is_loaded"]:
            text += " **The machine was loaded**: ratios of arms tell something, single times little."
    if result.get("calls_in_prompt"):
        text += " The prompts list the calls."
    if result["only_called_tools"]:
        text += " The prompts list only the functions that are called."
    if result["without"]:
        text += f" async+ without {', '.join(result['without'])}."
    return text + f" asynclm {result['version']}, seed {result['seed']}{', --quick' if result['quick'] else ''}."


def section(result):
    name = name_of(result)
    out = [f"## {'Setting' if 'setting' in result else 'Kind'} `{name}`\n\n{described(result)}\n"]
    entries = result.get("latency", [])
    whole = [e for e in entries if not e["workload"].startswith("arrivals")]
    arrivals = [e for e in entries if e["workload"].startswith("arrivals")]
    if whole:
        out += [headline(whole), latency(whole, "sync"), picture(name, "latency")]
    if result["kind"] == "real" and entries:
        out += ["### What the model made of the calls\n", right_runs(entries)]
        few = [f"{e['workload']}: {n}" for e in entries if (n := len(paired(e, "async", "sync"))) < 5]
        if few:
            out.append(f"**Too few samples are right in both async and sync to say anything about speed** ({', '.join(few)}).\n")
        out.append("What is wrong is mostly text that the model copies wrongly, or a call that it forgets or makes too soon; it is a model of three million "
                   "parameters. Only what is right counts in the times.\n")
        if any(paired(e, "async-wall", "async") for e in entries):
            out += ["### The server's clock\n", clocks(entries)]
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
                if arm["name"] != "sync" and "sync" in arm.get("speed_up", {}):
                    rows.append([entry["workload"], arm["name"], cell(arm["speed_up"]["sync"]),
                                 f"{arm['a_call']['writing_ms']:.0f}"])
        out += ["### Features of async+\n", table(["", "", "over sync", "ms to write a call"], rows), picture(name, "features")]
    if "policies" in result:
        rows = []
        for entry in result["policies"]:
            for arm in entry["arms"]:
                over = over_random(entry, arm["name"])
                if "over_bound" not in arm or over is None:
                    continue
                rows.append([entry["workload"], arm["name"], f"{arm['makespan_ms']['p50']:.0f}", f"{over:.3f}",
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
            sys.exit(f"results: {path} is not what asynclm-lab bench bfcl prints with --json ({error!r})")
    results.sort(key=lambda r: r["kind"] != "real")  # the others stay in their order
    commands = ""
    for result in results:
        name = name_of(result)
        options = {"simulated": f"--setting {name}", "forced": "--kind forced",
                   "real": "--kind real"}[result["kind"]]
        if "context" in result:
            options += f" --context {result['context']}"
        options += " --only-called" * result["only_called_tools"]
        if result["kind"] == "real":
            options += " --no-calls-in-prompt" * (not result["calls_in_prompt"]) + f" --resume {name}.log"
            options += f" --model lab/models/asynclm-nano-cheat-sheet.gguf --parts {','.join(result['parts'])}"
            if "sweep" in result["parts"]:
                options += f" --ratios {','.join(f'{ratio:g}' for ratio in result['ratios'])}"
            options += f" --workload {','.join(e['workload'] for e in result['latency'])}"
            options += f" --arms {','.join(arm['name'] for arm in result['latency'][0]['arms'])}"
        options += " --quick" * result["quick"]
        if result.get("samples"):
            options += f" --samples {result['samples']}"
        commands += folded(f"./dev lab bench bfcl --data DATA {options} --json > {name}.json") + "\n"
    for name in map(name_of, results):
        if picture(name, "latency"):
            commands += (f"for kind in '' --png; do\n"
                         f"  ./dev plot {name}.json lab/docs/figures/bfcl-{name} $kind\ndone\n")
    commands += folded(f"python3 lab/docs/results.py {' '.join(f'{name_of(r)}.json' for r in results)} > lab/docs/results.md")
    print(wrapped("\n".join([INTRO.replace("COMMANDS", commands), against_the_aims(results), against_the_paper(results),
                             "\n".join(section(r) for r in results)])), end="")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
