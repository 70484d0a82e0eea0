# SPDX-License-Identifier: Apache-2.0
"""./dev train COMMAND, or python3 -m train COMMAND in the checkout; README.md beside this file."""

import argparse
import os
import sys
from pathlib import Path

from .options import DEFAULTS, FINETUNE, MEANING

# Large activations come and go each step: without these glibc maps and unmaps their pages each
# time (a quarter of the run time), and idle OpenMP threads spin against other programs.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "OMP_WAIT_POLICY": "passive",
}
ROOT = Path(__file__).parents[1]  # lab/


def restart_with_environment():
    """Libraries read it at process start only."""
    if any(name not in os.environ for name in ENVIRONMENT):
        os.execve(sys.executable, [sys.executable, "-m", "train", *sys.argv[1:]], {**ENVIRONMENT, **os.environ})


def run_recipe(args):
    restart_with_environment()
    from . import recipes

    run = args.run or ROOT / "train" / "runs" / args.command
    out = args.out or ROOT / "models" / f"asynclm-{args.command}.gguf"
    recipes.main(args.command, run, out, args.threads, args.device, args.program, args.millions,
                 not args.unchecked)


def run_tokenizer(args):
    from . import tokenizer

    tokenizer.main(args.words, args.out)


def training_options(args):
    """Sets PyTorch up; returns the trainer's options that were given."""
    restart_with_environment()
    import torch

    from . import trainer

    trainer.check_device(args.device)
    torch.set_num_threads(args.threads)
    return {k: getattr(args, k) for k in DEFAULTS if getattr(args, k, None) is not None}


def run_pretrain(args):
    options = training_options(args)
    from . import peers, trainer

    if args.processes > 1 and args.device != "cpu":
        raise SystemExit(f"--processes {args.processes}: more than 1 on the CPU only")
    stages = [trainer.parse_stage(stage) for stage in args.stage]
    peers.train(args.processes, args.threads,
                {"run": args.run, "config": args.config, "stages": stages, "valid": args.valid, "options": options,
                 "start": args.start, "compile": args.compile, "device": args.device},
                {"log_steps": args.log_steps, "checkpoint_minutes": args.checkpoint_minutes,
                 "valid_minutes": args.valid_minutes, "max_steps": args.max_steps})


def run_prepare(args):
    from . import hf

    hf.prepare(args.model, args.out)


def run_finetune(args):
    options = training_options(args)
    from . import finetune, trainer

    finetune.main(args.base, args.run, [trainer.parse_stage(s) for s in args.stage], args.valid, options, args.lora,
                  args.device, args.log_steps, args.checkpoint_minutes, args.valid_minutes, args.max_steps)


def run_plot(args):
    from . import plot

    plot.main(args.run, args.out)


def run_export(args):
    from . import export

    export.main(args.run, args.out, args.type, args.name)


def run_parity(args):
    from . import parity

    parity.main(args.run, args.gguf, args.limit)


def run_hostile(args):
    from . import hostile

    hostile.main(args.out)


def run_test(args):
    restart_with_environment()
    import unittest

    import torch

    torch.set_num_threads(1)
    unittest.main("train.test_train", argv=["./dev train test", *args.arguments], verbosity=2)


def parse(arguments=None):
    """arguments: of the process where None."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="./dev train")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, function, text):
        p = commands.add_parser(name, help=text, description=text)
        p.set_defaults(function=function)
        return p

    def one_or_more(text):
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"'{text}': expected 1 or more")
        return int(text)

    def training(name, function, text, checkpoint_minutes, valid_minutes, defaults):
        p = command(name, function, text)
        p.add_argument("--run", required=True, help="folder of the checkpoint and the log")
        p.add_argument("--stage", action="append", required=True, metavar="FILE[,FILE…]:MILLION_TOKENS",
                       help="train so long on these files together; given again, what comes next")
        p.add_argument("--valid", action="extend", nargs="+", default=[], metavar="FILE",
                       help="held-out files, each a curve of its own")
        p.add_argument("--threads", type=one_or_more, default=cores, help="all cores")
        p.add_argument("--device", default="cpu", help="as PyTorch names it: cpu, cuda")
        p.add_argument("--log-steps", type=one_or_more, default=10, help="a row of the log each N steps (10)", metavar="N")
        p.add_argument("--checkpoint-minutes", type=float, default=checkpoint_minutes, metavar="N",
                       help=f"between two checkpoints ({checkpoint_minutes})")
        p.add_argument("--valid-minutes", type=float, default=valid_minutes, metavar="N",
                       help=f"between two validations ({valid_minutes})")
        p.add_argument("--max-steps", type=one_or_more, metavar="N", help="stop after N steps in all")
        p.add_argument("--precision", choices=["auto", "f32", "bf16"], help="of products; auto: bf16 where it is faster")
        for option, kind in (("lr", float), ("step_tokens", int), ("micro_tokens", int), ("warmup", float),
                             ("decay", float), ("clip", float), ("seed", int)):
            p.add_argument("--" + option.replace("_", "-"), type=kind, metavar="N",
                           help=f"{MEANING[option]} ({defaults[option]:g})")
        return p

    for name, what in (("nano", "a model of 3 million parameters, on a CPU"), ("mini", "a model of 33 million parameters, on a GPU")):
        p = command(name, run_recipe, f"make {what}: data, training, export, checks; goes on where it stopped")
        p.add_argument("--run", help=f"folder of the data, checkpoint and log (train/runs/{name})")
        p.add_argument("--out", help=f"the model file; without it, models/asynclm-{name}.gguf, which is replaced")
        p.add_argument("--threads", type=one_or_more, default=cores, help="all cores")
        p.add_argument("--device", help="as PyTorch names it; without it, that of the recipe")
        p.add_argument("--millions", type=float, metavar="N",
                       help="N million tokens instead of the recipe's: with fewer weaker, sooner")
        p.add_argument("--program", help="the asynclm-lab that makes the data; without it, ./dev builds it")
        p.add_argument("--unchecked", action="store_true", help="where libllama is not: do not compare the model file with it")
    p = training("pretrain", run_pretrain, "train, or go on with a training", 2, 4, DEFAULTS)
    p.add_argument("--config", default="nano", help="model shape: tiny, nano, nano4, nano64, micro, mini")
    p.add_argument("--start", metavar="FILE",
                   help="begin from another run's checkpoint, or from the weights of a GGUF that 'export' wrote")
    p.add_argument("--processes", type=one_or_more, default=1, metavar="N",
                   help="processes that share a step's batches, each of --threads; on two cores twice one thread is faster than two")
    p.add_argument("--compile", action="store_true", help="torch.compile the blocks (needs g++ and headers)")
    p.add_argument("--optimizer", choices=["muon", "adamw"], help=f"of the matrices ({DEFAULTS['optimizer']})")
    p.add_argument("--embd-lr", type=float, metavar="N", help=f"{MEANING['embd_lr']} ({DEFAULTS['embd_lr']:g})")
    p = command("prepare", run_prepare, "add the markers to a model in Hugging Face's format")
    p.add_argument("--model", required=True, help="folder of the model and its tokenizer")
    p.add_argument("--out", required=True, help="folder of the new one, and of vocab.gguf for asynclm-lab dataset")
    p = training("finetune", run_finetune, "teach a prepared model, or go on with it", 10, 10, FINETUNE)
    p.add_argument("--base", required=True, help="folder that 'prepare' wrote")
    p.add_argument("--lora", type=int, default=0, metavar="RANK", help="train adapters of this rank only (needs peft)")
    p = command("plot", run_plot, "draw the log of a run")
    p.add_argument("--run", required=True)
    p.add_argument("--out", required=True)
    p = command("export", run_export, "write a GGUF model")
    p.add_argument("--run", required=True, help="run folder or checkpoint file")
    p.add_argument("--out", required=True)
    p.add_argument("--type", default="f16", choices=["f16", "f32", "q8_0"])
    p.add_argument("--name", help="of the model, in its metadata (that of the run folder)")
    p = command("parity", run_parity, "compare logits with libllama")
    p.add_argument("--run", required=True, help="run folder or checkpoint file")
    p.add_argument("--gguf", required=True)
    p.add_argument("--limit", type=float, help="fail above this difference (f32: 1e-3)")
    p = command("tokenizer", run_tokenizer, "make a tokenizer.json and vocab.gguf")
    p.add_argument("--words", default="/usr/share/dict/words")
    p.add_argument("--out", required=True)
    p = command("hostile", run_hostile, "write the tokenizer cases of the C++ tests")
    p.add_argument("--out", default=ROOT.parent / "tests" / "data" / "tokenizer_hostile.json")
    p = command("test", run_test, "run the tests of this folder")
    p.add_argument("arguments", nargs="*", metavar="NAME", help="only these: TokenizerTest, DataTest.test_…")
    return parser.parse_args(arguments)


def main():
    args = parse()
    try:
        args.function(args)
    except OSError as error:  # missing files, a full disk, another libllama
        raise SystemExit(f"train {args.command}: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
