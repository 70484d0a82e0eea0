# SPDX-License-Identifier: Apache-2.0
"""Models of the protocol, each from nothing to a GGUF file. What is there already is not made again."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import checkpoint, export, parity, peers, plot, tokenizer, trainer

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Round:
    """A training at whose end the rate is zero. The next one goes on from there, at a high rate again."""

    stages: tuple  # (data sets, million tokens for each time Recipe.data)
    options: dict = field(default_factory=dict)  # other than trainer.DEFAULTS


@dataclass(frozen=True)
class Recipe:
    config: str  # the shape (CONFIGS in model.py)
    data: int  # so many times the samples of DATA
    type: str  # of the model file
    device: str
    rounds: tuple

    def data_sets(self):
        return [name for part in self.rounds for names, _ in part.stages for name in names] + VALIDATION


@dataclass(frozen=True)
class DataSet:
    """What `asynclm dataset` is asked for."""

    level: int
    samples: int  # for each time Recipe.data
    seed: int
    max_tokens: int
    modes: str = "async=50,async+=20,sync=15,sync-parallel=15"  # empty: those of the program
    split: str = "train"  # validation: words that neither training nor testing sees

    def arguments(self, recipe):
        """The teacher calls in the order in which the user asked, not by the longest estimate: then the next call is
        that of the next clause, which a model of this size can learn to find. Comparing the estimates of all clauses at
        once it did not learn."""
        samples = self.samples * (recipe.data if self.split == "train" else 1)
        return ["--level", str(self.level), "--samples", str(samples), "--seed", str(self.seed), "--max-tokens", str(self.max_tokens),
                "--split", self.split, "--policy", "as-written", *(["--modes", self.modes] if self.modes else [])]


# What is wrong of runs whose calls are right comes of several results that wait to be told.
OFTEN_ASYNC = "async=60,async+=20,sync=10,sync-parallel=10"

DATA = {
    "easy": DataSet(1, 5000, 501, 900, modes=""),
    "mixed1": DataSet(1, 2400, 611, 1600),
    "mixed2": DataSet(2, 7200, 612, 1600),
    "mixed3": DataSet(3, 14400, 613, 1600),
    "mixed4": DataSet(4, 20400, 614, 1600),
    "mixed5": DataSet(5, 18000, 615, 1600),
    "mixed6": DataSet(6, 5400, 616, 3000),
    "more1": DataSet(1, 1600, 711, 1600),
    "more2": DataSet(2, 5600, 712, 1600),
    "more3": DataSet(3, 12000, 713, 1600),
    "more4": DataSet(4, 19200, 714, 1600),
    "more5": DataSet(5, 18000, 715, 1600),
    "more6": DataSet(6, 8000, 716, 3000),
    "third1": DataSet(1, 1800, 811, 1600),
    "third2": DataSet(2, 14000, 812, 1600, modes=OFTEN_ASYNC),
    "third3": DataSet(3, 24000, 813, 1600, modes=OFTEN_ASYNC),
    "third4": DataSet(4, 21500, 814, 1600),
    "third5": DataSet(5, 21000, 815, 1600),
    "third6": DataSet(6, 8000, 816, 3000),
    "third7": DataSet(7, 8300, 817, 1600, modes="async=40,async+=60"),
    "third8": DataSet(8, 5000, 818, 2000, modes="async=60,async+=10,sync=5,sync-parallel=25"),
    "third9": DataSet(9, 7000, 819, 1600, modes=OFTEN_ASYNC),
    **{f"valid{level}": DataSet(level, 100, level + 7, 1600, split="validation") for level in (3, 4, 5, 6)},
}
VALIDATION = [name for name, what in DATA.items() if what.split == "validation"]

# Copying and the choice of a tool come first, by themselves; after that all levels together, since a level that is left
# out is forgotten. Nothing is seen more than about once.
FIRST = ((("easy",), 2.5), (tuple(f"mixed{level}" for level in range(1, 7)), 45.0))
SECOND = ((tuple(f"more{level}" for level in range(1, 7)), 45.0),)
THIRD = ((tuple(f"third{level}" for level in range(1, 10)), 75.0),)


def millions(stages):
    return sum(tokens for _, tokens in stages)


def falling(stages, before):
    """Of a later round: the rate falls from its beginning to zero."""
    return {"lr": 0.012, "embd_lr": 0.0024, "decay": millions(stages) / millions(before + stages)}


RECIPES = {
    # Two cores; README.md has the times.
    "nano": Recipe("nano", 1, "f16", "cpu", (
        Round(FIRST),
        Round(SECOND, falling(SECOND, FIRST)),
        Round(THIRD, falling(THIRD, FIRST + SECOND)),
    )),
    # A GPU of 80 GB, ten minutes a stage.
    "mini": Recipe("mini", 3, "q8_0", "cuda", (Round(FIRST, {"step_tokens": 24576, "micro_tokens": 24576}),)),
}

# Exact arithmetic differs by rounding alone; the others also round weights and activations.
LIMITS = {"f32": 1e-3, "f16": 0.25, "q8_0": 2.0}


def make_data(program, run, recipe, name):
    path, partial = run / f"{name}.jsonl", run / f"{name}.jsonl.partial"
    command = [str(program), "dataset", "--vocab", str(tokenizer.SHIPPED / "vocab.gguf"), *DATA[name].arguments(recipe)]
    status = subprocess.run([*command, "--out", str(partial)]).returncode
    if status:
        raise SystemExit(f"{path}: '{' '.join(command)}' ended with status {status}")
    partial.rename(path)


def data(program, run, recipe, threads):
    missing = [name for name in recipe.data_sets() if not (run / f"{name}.jsonl").exists()]
    if not missing:
        return
    if program is None:
        program = ROOT / "build" / "release" / "asynclm"
        if subprocess.run([str(ROOT / "dev"), "build", "release"]).returncode:
            raise SystemExit("the program that makes the data could not be built")
    with ThreadPoolExecutor(threads) as pool:
        try:
            list(pool.map(lambda name: make_data(program, run, recipe, name), missing))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def stages_begun(run):
    """Of how many stages, those of the rounds before with them, the checkpoint has a position."""
    path = run / "checkpoint.pt"
    return len(checkpoint.load(path)["positions"]) if path.exists() else 0


def train(run, recipe, threads, device):
    path = lambda name: str(run / f"{name}.jsonl")
    on_cpu = device == "cpu"
    # A step is two micro-batches of the default size.
    processes = min(threads, 2) if on_cpu else 1
    stages, begun = [], stages_begun(run)
    for part in recipe.rounds:
        first = len(stages)
        stages += [([path(name) for name in names], tokens * recipe.data * 1e6) for names, tokens in part.stages]
        if begun > len(stages):
            continue  # a later round has begun
        if begun <= first:
            (run / "stable.pt").unlink(missing_ok=True)  # of the round before
        training = peers.train(processes, threads // processes,
                               {"run": run, "config": recipe.config, "stages": stages,
                                "valid": [path(name) for name in VALIDATION], "options": part.options, "device": device,
                                "end_is_fixed": True},
                               {"log_steps": 20, "checkpoint_minutes": 2, "valid_minutes": 15 if on_cpu else 2})
        if training.stop:
            raise SystemExit(f"stopped at step {training.step}; the same command goes on from there")
    if begun > len(stages):
        raise SystemExit(f"--rounds {len(recipe.rounds)}: {run} is in a later round; give another --run")


def main(name, run, out, threads, device=None, program=None, rounds=None):
    """rounds: only so many, the first ones; all without it."""
    recipe, run, out = RECIPES[name], Path(run), Path(out)
    if rounds is not None:
        if not 1 <= rounds <= len(recipe.rounds):
            raise SystemExit(f"--rounds {rounds}: {name} has {len(recipe.rounds)}")
        recipe = replace(recipe, rounds=recipe.rounds[:rounds])
    device = device or recipe.device
    trainer.check_device(device)
    if (run / "budget").exists():
        raise SystemExit(f"{run / 'budget'}: the end of a recipe cannot be moved; remove the file, or use 'pretrain'")
    run.mkdir(parents=True, exist_ok=True)
    data(program, run, recipe, threads)
    train(run, recipe, threads, device)
    plot.main(run, run / "log.png")
    for kind, path in (("f32", run / "exact.gguf"), (recipe.type, run / "model.gguf")):
        export.main(run, path, kind, f"asynclm {name}")
        parity.main(run, path, LIMITS[kind])
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes((run / "model.gguf").read_bytes())
    partial.replace(out)
    print(out)
