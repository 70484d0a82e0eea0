# SPDX-License-Identifier: Apache-2.0
"""The default model, from nothing to a GGUF file. What is there already is not made again."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from . import export, parity, plot, tokenizer, trainer

ROOT = Path(__file__).parents[1]
CONFIG = "nano"

# Arguments of `asynclm dataset`. The levels have tasks of their own seeds; `valid` also has words that
# training never sees.
DATA = {
    "l1": ["--level", "1", "--samples", "12000", "--seed", "101"],
    "l2": ["--level", "2", "--samples", "12000", "--seed", "102", "--max-tokens", "800"],
    "l3": ["--level", "3", "--samples", "26000", "--seed", "103", "--max-tokens", "800"],
    "valid": ["--level", "3", "--samples", "300", "--seed", "9", "--held-out", "--max-tokens", "800"],
}
STAGES = (("l1", 2), ("l2", 4), ("l3", 10))  # million tokens; nothing is seen more than about once

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
    torch.set_num_threads(threads)
    stages = [([str(run / f"{name}.jsonl")], millions * 1e6) for name, millions in STAGES]
    training = trainer.Trainer(run, CONFIG, stages, [str(run / "valid.jsonl")])
    if training.tokens < training.budget():
        training.train(log_steps=20, checkpoint_minutes=2, valid_minutes=8)
    training.close()
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
