# SPDX-License-Identifier: Apache-2.0
"""RUN/log.jsonl as a picture: loss and validation against tokens."""

import json
from pathlib import Path


def main(run, out):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = []
    for number, line in enumerate((Path(run) / "log.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            print(f"{run}/log.jsonl:{number}: left out, it is no row of a log")  # cut by a full disk or a crash
    # A step after the last checkpoint of a killed run is there twice: the later one counts.
    train = list({r["step"]: r for r in rows if "loss" in r}.values())
    valid = list({r["step"]: r for r in rows if "valid" in r}.values())
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    left.plot([r["tokens"] / 1e6 for r in train], [r["loss"] for r in train], linewidth=0.8, label="train")
    for number, name in enumerate(sorted({n for r in valid for n in r["valid"]})):
        x = [r["tokens"] / 1e6 for r in valid if name in r["valid"]]
        picked = [r["valid"][name] for r in valid if name in r["valid"]]
        color = f"C{number + 1}"  # the same left and right
        left.plot(x, [p["loss"] for p in picked], "o-", markersize=3, color=color, label=name)
        for key, style in (("token_acc", "-"), ("seq_acc", "--")):
            right.plot(x, [p[key] for p in picked], style, marker="o", markersize=3, color=color)
    left.set(xlabel="million tokens", ylabel="loss", yscale="log")
    right.set(xlabel="million tokens", ylabel="share right, teacher-forced", ylim=(0, 1.01))
    left.legend()
    for style, text in (("-", "of tokens"), ("--", "of whole sequences")):
        right.plot([], [], style, color="black", label=text)
    right.legend(loc="center left")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    print(out)
