#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what a bench printed with --json.

usage: plot.py RESULT.json OUT

Writes OUT-light.svg and OUT-dark.svg, for pages of either colour.
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
POLICIES = {"unlimited": PINK, "keep": BLUE, "paper": ORANGE, "ours": GREEN}


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


FIGURES = {"batch": draw_batch, "traps": draw_traps, "load": draw_load}


def main(path, out):
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        draw = FIGURES[result["figure"]]
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
            figure = draw(result)
            figure.tight_layout()
            target = f"{out}-{name}.svg"
            try:
                figure.savefig(target, metadata={"Date": None})
            except OSError as error:
                sys.exit(f"plot: {target} cannot be written: {error.strerror}")
            pyplot.close(figure)
        print(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
