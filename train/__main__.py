# SPDX-License-Identifier: Apache-2.0
"""python3 -m train tokenizer|pretrain|plot|export|parity"""

import argparse
import os
import sys

# Large activations come and go each step: without these glibc maps and unmaps their pages each
# time (a quarter of the run time), and idle OpenMP threads spin against other programs.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "OMP_WAIT_POLICY": "passive",
}


def pretrain(args):
    if any(name not in os.environ for name in ENVIRONMENT):  # read at process start only
        os.execve(sys.executable, [sys.executable, "-m", "train", *sys.argv[1:]], {**ENVIRONMENT, **os.environ})
    import torch

    from . import trainer

    torch.set_num_threads(args.threads)
    options = {k: getattr(args, k) for k in trainer.DEFAULTS if getattr(args, k) is not None}
    run = trainer.Trainer(args.run, args.config, [trainer.parse_stage(s) for s in args.stage], args.valid,
                          options, args.start, args.compile)
    run.train(args.log_steps, args.checkpoint_minutes, args.valid_minutes, args.max_steps)


def main():
    parser = argparse.ArgumentParser(prog="python3 -m train")
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("tokenizer", help="build tokenizer.json and vocab.gguf")
    p.add_argument("--words", default="/usr/share/dict/words")
    p.add_argument("--out", required=True)
    p = commands.add_parser("pretrain", help="train, or go on with a training")
    p.add_argument("--run", required=True, help="folder of the checkpoint and the log")
    p.add_argument("--config", default="nano", help="model shape: tiny, nano, nano64, micro")
    p.add_argument("--stage", action="append", required=True, metavar="FILE[,FILE…]:MILLION_TOKENS")
    p.add_argument("--valid", nargs="*", default=[], metavar="FILE")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--start", metavar="CHECKPOINT", help="begin from another run's checkpoint")
    p.add_argument("--compile", action="store_true", help="torch.compile the blocks (needs g++ and headers)")
    p.add_argument("--log-steps", type=int, default=10)
    p.add_argument("--checkpoint-minutes", type=float, default=2)
    p.add_argument("--valid-minutes", type=float, default=4)
    p.add_argument("--max-steps", type=int)
    p.add_argument("--optimizer", choices=["muon", "adamw"])
    for name, kind in (("lr", float), ("embd_lr", float), ("step_tokens", int), ("micro_tokens", int),
                       ("warmup", float), ("decay", float), ("clip", float), ("seed", int)):
        p.add_argument("--" + name.replace("_", "-"), type=kind)
    p = commands.add_parser("plot", help="draw the log of a run")
    p.add_argument("--run", required=True)
    p.add_argument("--out", required=True)
    p = commands.add_parser("export", help="write a GGUF model")
    p.add_argument("--run", required=True, help="run folder or checkpoint file")
    p.add_argument("--out", required=True)
    p.add_argument("--type", default="f16", choices=["f16", "f32", "q8_0"])
    p.add_argument("--name", default="asynclm nano")
    p = commands.add_parser("parity", help="compare logits with libllama")
    p.add_argument("--run", required=True, help="run folder or checkpoint file")
    p.add_argument("--gguf", required=True)
    p.add_argument("--limit", type=float, help="fail above this difference (f32: 1e-3)")
    args = parser.parse_args()
    if args.command == "tokenizer":
        from . import tokenizer

        tokenizer.main(args.words, args.out)
    elif args.command == "pretrain":
        pretrain(args)
    elif args.command == "plot":
        from . import plot

        plot.main(args.run, args.out)
    elif args.command == "export":
        from . import export

        export.main(args.run, args.out, args.type, args.name)
    elif args.command == "parity":
        from . import parity

        parity.main(args.run, args.gguf, args.limit)


if __name__ == "__main__":
    main()
