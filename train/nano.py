# SPDX-License-Identifier: Apache-2.0
"""The default model, from nothing to a GGUF file. What is there already is not made again."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import export, parity, peers, plot, tokenizer

ROOT = Path(__file__).parents[1]
CONFIG = "nano"

# Arguments of `asynclm dataset`. The data sets have tasks of their own seeds; `valid…` also have words
# that neither training nor testing sees.
#
# The teacher calls in the order in which the user asked, not by the longest estimate: then the next call
# is that of the next clause, which a model of this size can learn to find. Comparing the estimates of all
# clauses at once it did not learn.
AS_WRITTEN = ["--policy", "as-written"]
SHORT, LONG = ["--max-tokens", "900"], ["--max-tokens", "1600"]
MIXED = [*AS_WRITTEN, "--modes", "async=50,async+=20,sync=15,sync-parallel=15"]
VALID = ["--samples", "150", "--split", "validation", *LONG, *MIXED]
DATA = {
    "easy": ["--level", "1", "--samples", "4000", "--seed", "501", *SHORT, *AS_WRITTEN],
    "mixed1": ["--level", "1", "--samples", "2600", "--seed", "601", *SHORT, *MIXED],
    "mixed2": ["--level", "2", "--samples", "6500", "--seed", "602", *SHORT, *MIXED],
    "mixed3": ["--level", "3", "--samples", "11000", "--seed", "603", *SHORT, *MIXED],
    "mixed4": ["--level", "4", "--samples", "15500", "--seed", "604", *SHORT, *MIXED],
    "mixed5": ["--level", "5", "--samples", "7500", "--seed", "605", *SHORT, *MIXED],
    "mixed6": ["--level", "6", "--samples", "6500", "--seed", "606", *LONG, *MIXED],
    **{f"valid{level}": ["--level", str(level), "--seed", str(level + 7), *VALID] for level in (3, 4, 5, 6)},
}
# (data sets, million tokens). Copying and the choice of a tool come first, by themselves; after that all
# levels together, since a level that is left out is forgotten. Nothing is seen more than about once.
STAGES = ((("easy",), 1.5), (tuple(f"mixed{level}" for level in range(1, 7)), 23.5))

# Exact arithmetic differs by rounding alone; f16 also rounds weights and activations.
LIMITS = {"f32": 1e-3, "f16": 0.25}


def make_data(program, run, name):
    path, partial = run / f"{name}.jsonl", run / f"{name}.jsonl.partial"
    command = [str(program), "dataset", "--vocab", str(tokenizer.SHIPPED / "vocab.gguf"), *DATA[name]]
    status = subprocess.run([*command, "--out", str(partial)]).returncode
    if status:
        raise SystemExit(f"{path}: '{' '.join(command)}' ended with status {status}")
    partial.rename(path)


def data(program, run, threads):
    missing = [name for name in DATA if not (run / f"{name}.jsonl").exists()]
    if not missing:
        return
    if program is None:
        program = ROOT / "build" / "release" / "asynclm"
        if subprocess.run([str(ROOT / "dev"), "build", "release"]).returncode:
            raise SystemExit("the program that makes the data could not be built")
    with ThreadPoolExecutor(threads) as pool:
        try:
            list(pool.map(lambda name: make_data(program, run, name), missing))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def train(run, threads):
    stages = [([str(run / f"{name}.jsonl") for name in names], millions * 1e6) for names, millions in STAGES]
    valid = [str(run / f"{name}.jsonl") for name in DATA if name.startswith("valid")]
    processes = min(threads, 2)  # a step is two micro-batches
    training = peers.train(processes, threads // processes, {"run": run, "config": CONFIG, "stages": stages, "valid": valid},
                           {"log_steps": 20, "checkpoint_minutes": 2, "valid_minutes": 15})
    if training.stop:
        raise SystemExit(f"stopped at step {training.step}; the same command goes on from there")


def main(run, out, threads, program=None):
    run, out = Path(run), Path(out)
    run.mkdir(parents=True, exist_ok=True)
    data(program, run, threads)
    train(run, threads)
    plot.main(run, run / "log.png")
    for kind, path in (("f32", run / "exact.gguf"), ("f16", run / "model.gguf")):
        export.main(run, path, kind, "asynclm nano")
        parity.main(run, path, LIMITS[kind])
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes((run / "model.gguf").read_bytes())
    partial.replace(out)
    print(out)
