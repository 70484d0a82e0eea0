# SPDX-License-Identifier: Apache-2.0
"""Models of the protocol, each from nothing to a GGUF file. What is there already is not made again."""

import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from . import checkpoint, export, llama, parity, peers, plot, tokenizer, trainer

ROOT = Path(__file__).parents[1]  # lab/


@dataclass(frozen=True)
class Recipe:
    config: str  # the shape (CONFIGS in model.py)
    type: str  # of the model file
    device: str
    stages: tuple  # (data sets, million tokens)
    options: dict  # other than trainer.DEFAULTS
    valid: tuple  # levels

    def millions(self):
        return sum(tokens for _, tokens in self.stages)

    def valid_sets(self):
        return [f"valid{level}" for level in self.valid]

    def data_sets(self):
        return [name for names, _ in self.stages for name in names] + self.valid_sets()

    def with_millions(self, total):
        """The last stage gives or takes."""
        *before, (names, tokens) = self.stages
        least = self.millions() - tokens
        if not least < total < math.inf:
            raise SystemExit(f"--millions {total:g}: expected more than {least:g}, which the stages before the last take")
        return replace(self, stages=(*before, (names, total - least)))


@dataclass(frozen=True)
class DataSet:
    """What `asynclm-lab dataset` is asked for."""

    level: int
    samples: int
    seed: int
    max_tokens: int
    modes: str = "async=50,async+=20,sync=15,sync-parallel=15"  # empty: those of the program
    split: str = "train"  # validation: words that neither training nor testing sees

    def arguments(self):
        """The teacher calls in the order in which the user asked, not by the longest estimate: then the next call is
        that of the next clause, which a model of this size can learn to find. Comparing the estimates of all clauses at
        once it did not learn."""
        return ["--level", str(self.level), "--samples", str(self.samples), "--seed", str(self.seed), "--max-tokens", str(self.max_tokens),
                "--split", self.split, "--policy", "as-written", *(["--modes", self.modes] if self.modes else [])]


LONGEST = {6: 4000, 8: 2000}  # tokens of a sample; of the other levels 1,600
MODES = {7: "async=35,async+=45,sync=10,sync-parallel=10", 8: "async=55,async+=20,sync=5,sync-parallel=20"}


def of_all_levels(name, seed, samples):
    """Data sets of levels 1, 2, …, of so many samples each."""
    return {f"{name}{level}": DataSet(level, count, seed + level, LONGEST.get(level, 1600), MODES.get(level, DataSet.modes))
            for level, count in enumerate(samples, 1)}


DATA = {
    "easy": DataSet(1, 5000, 501, 900, modes=""),
    **of_all_levels("short", 1200, (900, 15000, 27000, 27000, 18000)),
    **of_all_levels("all", 1000, (3000, 16000, 46000, 62000, 80000, 40000, 56000, 28000, 40000)),
    **{f"valid{level}": DataSet(level, 100, level + 7, 2000 if level == 8 else 1600, split="validation")
       for level in (3, 4, 5, 6, 8, 9)},
}

# Copying and the choice of a tool come first, by themselves; after that all levels together, since a level that is left
# out is forgotten. Nothing is seen twice.
RECIPES = {
    "nano": Recipe("nano", "f16", "cpu", ((("easy",), 2.0), (tuple(f"short{level}" for level in range(1, 6)), 45.5)),
                   {"lr": 0.010, "embd_lr": 0.0020, "step_tokens": 3072}, valid=(3, 4, 5)),
    "mini": Recipe("mini", "q8_0", "cuda", ((("easy",), 2.5), (tuple(f"all{level}" for level in range(1, 10)), 270.0)),
                   {"lr": 0.016, "step_tokens": 24576}, valid=(3, 4, 5, 6, 8, 9)),
}

LONGEST_STEP = 1e5  # tokens by which a training may go past its end

# Exact arithmetic differs by rounding alone; the others also round weights and activations.
LIMITS = {"f32": 1e-3, "f16": 0.25, "q8_0": 2.0}


def make_data(program, run, name):
    path, partial = run / f"{name}.jsonl", run / f"{name}.jsonl.partial"
    command = [str(program), "dataset", "--vocab", str(tokenizer.SHIPPED / "vocab.gguf"), *DATA[name].arguments()]
    status = subprocess.run([*command, "--out", str(partial)]).returncode
    if status:
        raise SystemExit(f"{path}: '{' '.join(command)}' ended with status {status}")
    partial.rename(path)


def data(program, run, names, threads):
    missing = [name for name in names if not (run / f"{name}.jsonl").exists()]
    if not missing:
        return
    if program is None:
        program = ROOT.parent / "build" / "release" / "asynclm-lab"
        if subprocess.run([str(ROOT.parent / "dev"), "build", "release", "asynclm_lab_program"]).returncode:
            raise SystemExit("the program that makes the data could not be built")
    with ThreadPoolExecutor(threads) as pool:
        try:
            list(pool.map(lambda name: make_data(program, run, name), missing))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def train(run, recipe, threads, device):
    path = lambda name: str(run / f"{name}.jsonl")
    on_cpu = torch.device(device).type == "cpu"
    processes = min(threads, 2) if on_cpu else 1
    checkpoint_path = run / "checkpoint.pt"
    tokens = checkpoint.load(checkpoint_path)["tokens"] if checkpoint_path.exists() else 0
    if tokens > recipe.millions() * 1e6 + LONGEST_STEP:
        raise SystemExit(f"{run}: has had {tokens / 1e6:.1f} million tokens, more than this training; give another --run")
    options = {**trainer.DEFAULTS, **recipe.options}
    if not on_cpu:
        options["micro_tokens"] = options["step_tokens"]  # less keeps a GPU waiting for the next kernel
    training = peers.train(processes, threads // processes,
                           {"run": run, "config": recipe.config,
                            "stages": [([path(name) for name in names], tokens * 1e6) for names, tokens in recipe.stages],
                            "valid": [path(name) for name in recipe.valid_sets()], "options": options, "device": device,
                            "compile": not on_cpu, "end_is_fixed": True},
                           {"log_steps": 20 if on_cpu else 100, "checkpoint_minutes": 2 if on_cpu else 0.5,
                            "valid_minutes": 15 if on_cpu else 1})
    if training.stop:
        raise SystemExit(f"stopped at step {training.step}; the same command goes on from there")


def main(name, run, out, threads, device=None, program=None, total=None, is_checked=True):
    """total: million tokens instead of the recipe's; is_checked: the files are compared with libllama."""
    recipe, run, out = RECIPES[name], Path(run), Path(out)
    if total is not None:
        recipe = recipe.with_millions(total)
    device = device or recipe.device
    trainer.check_device(device)
    if is_checked:
        llama.library()  # that it is missing is not told only when all else is done
    if (run / "budget").exists():
        raise SystemExit(f"{run / 'budget'}: the end of a recipe cannot be moved; remove the file, or use 'pretrain'")
    run.mkdir(parents=True, exist_ok=True)
    data(program, run, recipe.data_sets(), threads)
    train(run, recipe, threads, device)
    plot.main(run, run / "log.png")
    for kind, path in (("f32", run / "exact.gguf"), (recipe.type, run / "model.gguf")):
        export.main(run, path, kind, f"asynclm {name}")
        if is_checked:
            parity.main(run, path, LIMITS[kind])
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes((run / "model.gguf").read_bytes())
    partial.replace(out)
    print(out if is_checked else f"{out}: not compared with libllama, as './dev train parity' does")
