#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what a bench printed with --json.

usage: plot.py RESULT.json OUT [--png]

Writes OUT-light.svg and OUT-dark.svg, for pages of either colour, with --png the same as PNG; of
bench bfcl, which has several pictures, OUT-latency-light.svg and so on.
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.colors import ListedColormap

THEMES = {
    "light": {"page": "#ffffff", "ink": "#1f2328", "grid": "#d0d7de"},
    "dark": {"page": "#0d1117", "ink": "#e6edf3", "grid": "#30363d"},
}
# Told apart also by the colour-blind, and seen on both pages (Okabe and Ito).
BLUE, ORANGE, GREEN, PINK = "#3d9bd6", "#e69f00", "#009e73", "#cc79a7"
WAYS = {"keep": BLUE, "swap": GREEN, "recompute": ORANGE}
POLICIES = {"unlimited": PINK, "keep": BLUE, "at-trap": ORANGE, "on-demand": GREEN}


def draw_batch(result):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    sizes = result["sizes"]
    x = [s["sessions"] for s in sizes]
    left.plot(x, [s["asynclm_tokens_per_s"] for s in sizes], "o-", color=GREEN, label="asynclm")
    if "ratio" in sizes[0]:
        left.plot(x, [s["libllama_tokens_per_s"] for s in sizes], "s--", color=ORANGE, label="llama-batched-bench")
        for s in sizes:
            place = (s["sessions"], s["asynclm_tokens_per_s"])
            left.annotate(f"{s['ratio']:.2f}", place, xytext=(0, 8), textcoords="offset points", ha="center")
    left.set(xlabel="sessions", ylabel="tokens a second, all sessions", title="Decoding; the numbers are ratios")
    left.margins(y=0.2)
    left.legend()
    right.plot(x, [s["own_us_per_token"] for s in sizes], "o-", color=GREEN)
    right.set(xlabel="sessions", ylabel="µs a token", title="Time outside the engine", ylim=(0, None))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, x)
    return figure


def draw_traps(result):
    figure, axes = pyplot.subplots(figsize=(7, 4.6))
    names = list(WAYS)
    lengths, waits = result["lengths"], result["waits_ms"]
    cells = [["ksr".index(way) for way in row] for row in result["map"]]
    axes.pcolormesh(lengths, waits, cells, cmap=ListedColormap(list(WAYS.values())), vmin=-0.5, vmax=2.5,
                    alpha=0.45, shading="nearest")
    axes.plot(lengths, result["recompute_ms"], "-", color=WAYS["recompute"], label="recompute takes so long")
    axes.plot(lengths, result["swap_ms"], "-", color=WAYS["swap"], label="swap, out and back")
    costs = result["costs"]
    axes.plot([c["tokens"] for c in costs], [c["recompute_ms"] for c in costs], "_", color=WAYS["recompute"])
    axes.plot([c["tokens"] for c in costs], [c["out_ms"] + c["back_ms"] for c in costs], "_", color=WAYS["swap"])
    ink = pyplot.rcParams["text.color"]
    for name in names:
        # Filled: of the ways tried there, the chosen one was the best.
        for right in (True, False):
            points = [p for p in result["points"] if p["best"] == name and (p["chosen"] == name) == right]
            label = None if not right else f"measured best: {name}"
            axes.plot([p["tokens"] for p in points], [p["wait_ms"] for p in points], "o", markeredgecolor=ink,
                      color=WAYS[name] if right else "none", markersize=8, label=label if points else None)
    axes.set(xscale="log", yscale="log", xlabel="tokens in the context", ylabel="expected wait, ms")
    axes.set_xticks(lengths, lengths, rotation=45)
    axes.minorticks_off()
    handles, labels = axes.get_legend_handles_labels()
    regions = [pyplot.Rectangle((0, 0), 1, 1, color=WAYS[name], alpha=0.45) for name in names]
    axes.legend(regions + handles, names + labels, fontsize=7, loc="upper left")
    axes.set_title(result["model"].split("/")[-1], fontsize=9)
    return figure


def draw_load(result):
    arms = result["arms"]
    budgets = sorted({a["kv_sequences"] for a in arms if a["policy"] != "unlimited"})
    figure, rows = pyplot.subplots(len(budgets), 4, figsize=(15, 3.3 * len(budgets)), squeeze=False)
    for (kv, waiting, completion, delays), budget in zip(rows, budgets):
        shown = [a for a in arms if a["policy"] == "unlimited" or a["kv_sequences"] == budget]
        for arm in shown:
            colour, x = POLICIES[arm["policy"]], [s["at_ms"] / 1e3 for s in arm["series"]]
            kv.plot(x, [s["kv_tokens"] / 1e3 for s in arm["series"]], color=colour, linewidth=1, label=arm["policy"])
            waiting.plot(x, [s["waiting"] for s in arm["series"]], color=colour, linewidth=1)
        kv.set(title=f"room for {budget} sequences", ylabel="thousand tokens in the KV cache", xlabel="s", yscale="symlog")
        kv.legend(fontsize=7)
        waiting.set(title="sessions that wait for room", xlabel="s")
        names = [a["policy"] for a in shown]
        colours = [POLICIES[n] for n in names]
        for i, (key, alpha) in enumerate((("p50_ms", 1), ("p95_ms", 0.5))):
            values = [(a["completion"][key] or 0) / 1e3 for a in shown]
            bars = completion.bar([x + 0.4 * i for x in range(len(shown))], values, 0.38, color=colours, alpha=alpha)
            for bar, arm in zip(bars, shown):
                if arm["completion"][key] is None:
                    completion.annotate("never", (bar.get_x() + 0.19, 0), ha="center", va="bottom", rotation=90, fontsize=7)
        ends = [f"{n}\n{a['completed']}/{a['completed'] + a['cancelled']}" for n, a in zip(names, shown)]
        completion.set_xticks([x + 0.2 for x in range(len(shown))], ends, fontsize=8)
        completion.set(title="completion, p50 and p95", ylabel="s")
        kinds = (("first_token", "first token"), ("token_gap", "gap"), ("interrupt_delay", "interrupt"))
        for i, arm in enumerate(shown):
            for key, marker in (("p50_ms", "o"), ("p99_ms", "^")):
                x = [k + 0.15 * i for k in range(len(kinds))]
                delays.plot(x, [arm[k][key] for k, _ in kinds], marker, color=colours[i], markersize=5)
        delays.set_xticks([k + 0.2 for k in range(len(kinds))], [name for _, name in kinds], fontsize=8)
        delays.set(title="p50 (dot) and p99 (triangle)", ylabel="ms", yscale="log")
    return figure


# Ways of calling functions; what a picture does not name is grey.
ARMS = {"sync-stateless": PINK, "sync-stateless-docs": PINK, "sync": BLUE, "sync-parallel": "#7570b3",
        "eager": "#8c6d31", "async-naive": "#d55e00", "async-naive-cached": "#d55e00", "naive-server": "#d55e00",
        "naive-server-cached": "#d55e00", "async": ORANGE, "async-wall": ORANGE, "async+": GREEN}
GREY = "#8b949e"


def bars_of_arms(axes, table):
    """Median makespans as bars, with lines from the 10th to the 90th percentile."""
    arms = [a for a in table["arms"] if "makespan_ms" in a]
    rows = range(len(arms))
    p50 = [a["makespan_ms"]["p50"] for a in arms]
    reach = [[a["makespan_ms"]["p50"] - a["makespan_ms"]["p10"] for a in arms],
             [a["makespan_ms"]["p90"] - a["makespan_ms"]["p50"] for a in arms]]
    axes.barh(rows, p50, xerr=reach, color=[ARMS.get(a["name"], GREY) for a in arms], height=0.7,
              error_kw={"ecolor": pyplot.rcParams["text.color"], "elinewidth": 1, "capsize": 2})
    for row, arm in zip(rows, arms):
        over = arm["speed_up"].get("sync")
        if over:
            place = (arm["makespan_ms"]["p90"], row)
            axes.annotate(f" {over['median']:.2f}×", place, xytext=(4, 0), textcoords="offset points", va="center",
                          fontsize=8)
    axes.set_yticks(rows, [a["name"] for a in arms])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(title=f"{table['workload']} ({table['samples']})", xlabel="ms")
    axes.set_xlim(0, 1.15 * max((a["makespan_ms"]["p90"] for a in arms), default=1))


def draw_bars(tables, columns):
    columns = min(columns, len(tables))
    rows = -(-len(tables) // columns)
    height = 0.28 * max(len(t["arms"]) for t in tables) + 1.1
    figure, grid = pyplot.subplots(rows, columns, figsize=(5.2 * columns, height * rows), squeeze=False)
    for axes in grid.flat[len(tables):]:
        axes.set_visible(False)
    for axes, table in zip(grid.flat, tables):
        bars_of_arms(axes, table)
    return figure


def draw_latency(result):
    return draw_bars([t for t in result["latency"] if not t["workload"].startswith("arrivals")], 3)


def draw_arrivals(result):
    return draw_bars([t for t in result["latency"] if t["workload"].startswith("arrivals")], 3)


def draw_sweep(result):
    names = list(dict.fromkeys(t["workload"] for t in result["sweep"]))
    figure, grid = pyplot.subplots(1, len(names), figsize=(5.6 * len(names), 4.2), squeeze=False, sharey=True)
    for axes, name in zip(grid.flat, names):
        points = [t for t in result["sweep"] if t["workload"] == name]
        x = [t["ratio"] for t in points]
        # Paper, section 6.3: what the speed-up of plain generation tends to for many calls, and what
        # it is for as many equal, independent ones as the samples have.
        fine = [x[0] * (x[-1] / x[0]) ** (i / 60) for i in range(61)]
        calls = points[0]["calls"]
        ink = pyplot.rcParams["text.color"]
        axes.plot(fine, [1 + r for r in fine], "--", color=ink, linewidth=1, label="1 + E/G: the limit for many calls")
        axes.plot(fine, [calls * (1 + r) / (calls + r) for r in fine], ":", color=ink, linewidth=1,
                  label=f"{calls:.1f} equal, independent calls")
        for i, arm in enumerate(points[0]["arms"]):
            over = [t["arms"][i].get("speed_up", {}).get("sync") for t in points]
            if arm["name"] == "sync" or None in over:
                continue
            colour = ARMS.get(arm["name"], GREY)
            axes.plot(x, [o["median"] for o in over], "o-", color=colour, markersize=4, label=arm["name"])
            axes.fill_between(x, [o["low"] for o in over], [o["high"] for o in over], color=colour, alpha=0.2,
                              linewidth=0)
        axes.set(xscale="log", xlabel="E/G: mean run time over mean time to write a call", title=name, ylim=(0.8, 4.2))
        axes.set_xticks(x, [f"{r:g}" for r in x])
        axes.minorticks_off()
    grid.flat[0].set_ylabel("speed-up over sync, median")
    grid.flat[0].legend(fontsize=7, loc="upper left")
    return figure


def draw_features(result):
    tables = result["ablation"]
    figure, grid = pyplot.subplots(1, len(tables), figsize=(5.6 * len(tables), 3.4), squeeze=False)
    for axes, table in zip(grid.flat, tables):
        arms = [a for a in table["arms"] if a["name"] != "sync" and "sync" in a.get("speed_up", {})]
        over = [a["speed_up"]["sync"] for a in arms]
        rows = range(len(arms))
        reach = [[o["median"] - o["low"] for o in over], [o["high"] - o["median"] for o in over]]
        axes.barh(rows, [o["median"] for o in over], xerr=reach, height=0.7,
                  color=[ARMS.get(a["name"], GREY) for a in arms],
                  error_kw={"ecolor": pyplot.rcParams["text.color"], "elinewidth": 1, "capsize": 2})
        axes.set_yticks(rows, [a["name"] if a["name"] in ARMS else f"async+ {a['name']}" for a in arms])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(title=table["workload"], xlabel="speed-up over sync, median and its 95 % interval")
    return figure


def draw_policies(result):
    tables = result["policies"]
    figure, grid = pyplot.subplots(1, len(tables), figsize=(5.2 * len(tables), 2.6), squeeze=False)
    for axes, table in zip(grid.flat, tables):
        bars_of_arms(axes, table)
    return figure


def draw_timeline(result):
    arms = [a for a in result["timeline"]["arms"] if a["is_right"]]
    heights = [len(a["calls"]) for a in arms]
    figure, grid = pyplot.subplots(len(arms), 1, figsize=(10, 0.17 * sum(heights) + 0.42 * len(arms) + 0.8), sharex=True,
                                   squeeze=False, gridspec_kw={"height_ratios": heights})
    ink = pyplot.rcParams["text.color"]
    end = max(a["makespan_ms"] for a in arms)
    for axes, arm in zip(grid.flat, arms):
        for row, call in enumerate(arm["calls"]):
            taken_in = call["begun_ms"] + call["taking_in_ms"]
            axes.barh(row, call["taking_in_ms"], left=call["begun_ms"], height=0.7, color=PINK)
            axes.barh(row, call["written_ms"] - taken_in, left=taken_in, height=0.7, color=BLUE)
            axes.barh(row, call["returned_ms"] - call["started_ms"], left=call["started_ms"], height=0.7, color=ORANGE)
            axes.plot([call["delivered_ms"]], [row], "|", color=ink, markersize=5)
        axes.axvline(arm["makespan_ms"], color=GREEN, linewidth=1.5)
        axes.annotate(f" {arm['makespan_ms']:.0f} ms", (arm["makespan_ms"], -0.5), va="top", fontsize=8, color=GREEN)
        axes.set_yticks([])
        axes.set_ylabel(arm["name"], rotation=0, ha="right", va="center")
        axes.set_ylim(len(arm["calls"]) - 0.4, -0.6)
        axes.set_xlim(0, end * 1.08)
        axes.grid(axis="y", visible=False)
    handles = [*(pyplot.Rectangle((0, 0), 1, 1, color=colour) for colour in (PINK, BLUE, ORANGE)),
               pyplot.Line2D([], [], marker="|", linestyle="", color=ink), pyplot.Line2D([], [], color=GREEN)]
    figure.legend(handles, ["requests, prompts again, results", "the model writes the call", "it runs", "the model is told", "all have returned"],
                  ncols=5, fontsize=8, loc="upper center")
    grid.flat[-1].set_xlabel(f"ms; one row for each call of {result['timeline']['id']}")
    return figure


# Pictures of a result: its name behind OUT, what it is made of, how.
BFCL = {"latency": ("latency", draw_latency), "arrivals": ("latency", draw_arrivals), "sweep": ("sweep", draw_sweep),
        "features": ("ablation", draw_features), "policies": ("policies", draw_policies),
        "timeline": ("timeline", draw_timeline)}
FIGURES = {"batch": draw_batch, "traps": draw_traps, "load": draw_load}


def pictures(result):
    if result["figure"] != "bfcl":
        return {"": FIGURES[result["figure"]]}
    found = {f"-{name}": draw for name, (part, draw) in BFCL.items() if part in result}
    if not any(t["workload"].startswith("arrivals") for t in result.get("latency", [])):
        found.pop("-arrivals", None)
    if all(t["workload"].startswith("arrivals") for t in result.get("latency", [])):
        found.pop("-latency", None)
    if len({t["ratio"] for t in result.get("sweep", [])}) < 2:
        found.pop("-sweep", None)  # a point is no line
    if not any(a["is_right"] for a in result.get("timeline", {"arms": []})["arms"]):
        found.pop("-timeline", None)  # the model has none of it right
    return found


def main(path, out, kind="svg"):
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        draws = pictures(result)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"plot: {path} is not what a bench prints with --json ({error!r})")
    for name, theme in THEMES.items():
        style = {
            "svg.hashsalt": "asynclm",  # the same input gives the same file
            "svg.fonttype": "none", "font.family": ["sans-serif"],
            "figure.facecolor": theme["page"], "axes.facecolor": theme["page"], "savefig.facecolor": theme["page"],
            "legend.facecolor": theme["page"], "legend.edgecolor": theme["grid"], "axes.edgecolor": theme["grid"],
            "text.color": theme["ink"], "axes.labelcolor": theme["ink"], "axes.titlecolor": theme["ink"],
            "xtick.color": theme["ink"], "ytick.color": theme["ink"], "grid.color": theme["grid"],
            "axes.grid": True, "axes.axisbelow": True, "font.size": 9,
        }
        with pyplot.rc_context(style):
            for part, draw in draws.items():
                figure = draw(result)
                # Room for a legend above all axes.
                figure.tight_layout(rect=(0, 0, 1, 0.95 if figure.legends else 1))
                target = f"{out}{part}-{name}.{kind}"
                try:
                    figure.savefig(target, metadata={"Date": None} if kind == "svg" else None, dpi=110)
                except OSError as error:
                    sys.exit(f"plot: {target} cannot be written: {error.strerror}")
                pyplot.close(figure)
                print(target)


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--png"]
    if len(arguments) != 2:
        sys.exit(__doc__)
    main(*arguments, "png" if "--png" in sys.argv else "svg")
