# SPDX-License-Identifier: Apache-2.0
"""Training: Muon + AdamW, warm-up, constant rate, linear decay; stops and resumes at any step.

State is one checkpoint file. The end of training may be moved while it runs: the stages and the
decay follow the budget (million tokens) written in RUN/budget.
"""

import contextlib
import copy
import fcntl
import functools
import json
import math
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from . import checkpoint, data, export, tokenizer
from .model import CONFIGS, Block, Model
from .muon import Muon
from .options import DEFAULTS
from .peers import Alone


def parse_stage(text):
    """'FILE[,FILE…]:MILLION_TOKENS' to (files, tokens)."""
    names, _, millions = text.rpartition(":")
    files = names.split(",")
    try:
        tokens = float(millions) * 1e6
    except ValueError:
        tokens = 0.0
    if not all(files) or not 0 < tokens < math.inf:
        raise SystemExit(f"--stage {text}: expected FILE[,FILE…]:MILLION_TOKENS")
    return files, tokens


def has_bf16(device):
    """Whether products of bf16 are faster than those of f32: on a CPU with AMX, or with AVX-512 for bf16."""
    if str(device).startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def check_device(device):
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SystemExit(f"--device {device}: {error}") from error


def check_options(options):
    for name in ("lr", "embd_lr", "step_tokens", "micro_tokens", "decay", "clip"):
        if not options[name] > 0:
            raise SystemExit(f"--{name.replace('_', '-')} {options[name]}: expected more than 0")
    if not options["warmup"] >= 0:
        raise SystemExit(f"--warmup {options['warmup']}: expected 0 or more million tokens")
    if options["micro_tokens"] > options["step_tokens"]:
        raise SystemExit(f"--micro-tokens {options['micro_tokens']}: more than --step-tokens "
                         f"({options['step_tokens']}), which is of one or more such passes")


def same_weights(shape, wanted, is_start):
    """Whether training can go on from weights of this shape. From those of another run also where positions are
    rotated otherwise: heads that used what is no longer there are learned anew, in about a million tokens."""
    free = {"rotated", "rope_base", "context"} if is_start else set()
    shape, wanted = ({key: config[key] for key in config.keys() - free} for config in (shape, wanted))
    return shape == wanted


class Optimizers:
    def __init__(self, model, options):
        matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n != "token_embd"]
        others = [p for n, p in model.named_parameters() if p.ndim != 2 or n == "token_embd"]
        adam = {"betas": (0.9, 0.95), "weight_decay": 0.0, "foreach": True}
        if options["optimizer"] == "muon":
            self.all = [Muon(matrices, lr=options["lr"]),
                        torch.optim.AdamW(others, lr=options["embd_lr"], **adam)]
        else:
            self.all = [torch.optim.AdamW(matrices + others, lr=options["lr"], **adam)]
        self.base = [o.param_groups[0]["lr"] for o in self.all]

    def step(self, factor):
        for optimizer, base in zip(self.all, self.base):
            optimizer.param_groups[0]["lr"] = base * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self):
        return [o.state_dict() for o in self.all]

    def load(self, state):
        for optimizer, part in zip(self.all, state):
            optimizer.load_state_dict(part)


def rate(tokens, budget, options):
    """Share of the full learning rate: warm-up, constant, linear to zero at the budget."""
    warm = min(1.0, (tokens + options["step_tokens"]) / (options["warmup"] * 1e6 + 1))
    return warm * min(1.0, max(0.0, (budget - tokens) / (options["decay"] * budget)))


class Trainer:
    def __init__(self, run, config, stages, valid=(), options=None, start=None, compile=False,
                 device="cpu", peers=Alone(), end_is_fixed=False):
        """config: the name of a shape, or a model (as finetune.Model); stages: [(files, tokens)]; start: a checkpoint
        of another run, or an exported GGUF file (its weights only), to continue from; peers: the processes that train
        together (peers.py), of which the one of rank 0 writes all files; end_is_fixed: RUN/budget does not move it."""
        if isinstance(config, str) and config not in CONFIGS:
            raise SystemExit(f"--config {config}: there are {', '.join(CONFIGS)}")
        self.options = {**DEFAULTS, **(options or {})}
        check_options(self.options)
        given = None if isinstance(config, str) else config
        config = given.config if given else CONFIGS[config]
        self.run = Path(run)
        self.run.mkdir(parents=True, exist_ok=True)
        self.peers, self.end_is_fixed, self.end = peers, end_is_fixed, None
        self.log_file = open(self.run / "log.jsonl", "a", encoding="utf-8", buffering=1)
        try:
            if peers.rank == 0:
                fcntl.flock(self.log_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{self.run}: another training runs in this folder") from None
        self.files = [[Path(f).name for f in files] for files, _ in stages]
        self.shares = np.cumsum([tokens for _, tokens in stages])
        self.default_budget = float(self.shares[-1])
        self.shares = self.shares / self.shares[-1]
        self.checkpoint = self.run / "checkpoint.pt"
        source, state = self.checkpoint if self.checkpoint.exists() else start, None
        if source and Path(source).suffix == ".gguf":
            model = export.read(source)
            state = {"config": model.config.to_dict(), "model": model.state_dict()}
        elif source:
            state = checkpoint.load(source)
        if state:
            if not same_weights(state["config"], config.to_dict(), source is start):
                raise SystemExit(f"{source}: of another shape ({state['config']}); name its --config or another --run")
            if "options" in state and state["options"]["optimizer"] != self.options["optimizer"]:
                raise SystemExit(f"{source}: of a training with --optimizer {state['options']['optimizer']}")
            if source is start:
                state["positions"], state["losses"] = {}, []
            for index, names in state.get("files", {}).items() if source is not start else ():
                if state["positions"][index] and index < len(self.files) and names != self.files[index]:
                    raise SystemExit(f"{source}: has begun stage {index} with other data ({', '.join(names)}); give another --run")
        # Late in a training gradients get so small that the CPU's slow path for denormal numbers would take a
        # third of the time. Threads that are started later inherit this.
        torch.set_flush_denormal(True)
        # cuDNN's attention prepares itself for each new shape of a batch, 10 ms each way.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.device, self.on_cpu = device, torch.device(device).type == "cpu"
        if torch.device(device).type == "cuda":
            torch.cuda.set_device(device)
        self.model = (given or Model(config).init(self.options["seed"])).to(device)
        self.controls = torch.zeros(config.vocab, dtype=torch.bool)
        self.controls[given.controls if given else range(config.vocab - len(tokenizer.CONTROLS), config.vocab)] = True
        if has_bf16(device) if self.options["precision"] == "auto" else self.options["precision"] == "bf16":
            self.model.use_bf16()
        self.optimizers = Optimizers(self.model, self.options)
        self.step, self.tokens, self.seconds, positions, limits = 0, 0, 0.0, {}, {}
        self.losses, self.norms = [], []  # of the steps since the last row of the log; the norms are of gradients
        if state:
            self.model.load_state_dict(state["model"])
        if state and "optimizers" in state:
            self.optimizers.load(state["optimizers"])
            self.step, self.tokens = state["step"], state["tokens"]
            self.seconds, positions = state["seconds"], state["positions"]
            limits = state.get("limits", dict.fromkeys(positions, state["options"]["micro_tokens"]))
            self.losses = state.get("losses", [])
            torch.set_rng_state(state["rng"])
        self.compiled = compile
        if compile:
            forward = torch.compile(Block.forward, dynamic=True)
            for block in self.model.blk:
                block.forward = functools.partial(forward, block)
        read = lambda path: data.load(path, self.run, config.vocab, config.context)
        if peers.rank == 0:
            data.prepare([f for files, _ in stages for f in files], self.run, config.vocab, config.context)
        loaded = {}
        self.streams = []
        for index, (files, _) in enumerate(stages):
            key = tuple(files)
            if key not in loaded:
                loaded[key] = data.concatenate([read(f) for f in files])
            self.streams.append(data.Stream(loaded[key], limits.get(index, self.options["micro_tokens"]),
                                            self.options["seed"] * 1000 + index, positions.get(index, 0)))
        self.valid = {Path(f).stem: read(f) for f in valid}
        self.stop = False

    def budget(self):
        """Tokens to train for: RUN/budget (millions) if present, else the sum of the stages. Where what stands there is
        no such number (it may just be written), the end stays where it was; at the start there is none yet."""
        path = self.run / "budget"
        if self.end_is_fixed or not path.exists():
            self.end = self.default_budget
            return self.end
        try:
            tokens = float(path.read_text(encoding="utf-8")) * 1e6
            if 0 < tokens < math.inf:
                self.end = tokens
                return tokens
        except (OSError, ValueError):
            pass
        if self.end is None:
            raise SystemExit(f"{path}: expected a number of million tokens")
        print(f"{path}: expected a number of million tokens; the end stays at {self.end / 1e6:g}", flush=True)
        return self.end

    def stage(self, budget):
        return min(int(np.searchsorted(self.shares, self.tokens / budget, side="right")), len(self.streams) - 1)

    def state(self):
        return {"config": self.model.config.to_dict(), "options": self.options, "step": self.step,
                "tokens": self.tokens, "seconds": self.seconds, "losses": self.settled(), "model": self.model.state_dict(),
                "optimizers": self.optimizers.state(), "rng": torch.get_rng_state(),
                "positions": {i: s.position for i, s in enumerate(self.streams)},
                "limits": {i: s.limit for i, s in enumerate(self.streams)},  # of the batches that positions count
                "files": {i: list(files) for i, files in enumerate(self.files)}}

    def settled(self):
        """The losses since the last row of the log as numbers: until then they may still be computed on the device, which
        the next steps do not wait for."""
        self.losses, norms, self.norms = [float(loss) for loss in self.losses], [float(norm) for norm in self.norms], []
        if not all(map(math.isfinite, self.losses + norms)):
            raise SystemExit(f"{self.run}: the loss or its gradient is no number any more (by step {self.step}). "
                             "RUN/checkpoint.pt is of before: 'pretrain' or 'finetune' with a lower --lr goes on from there")
        return self.losses

    def describe(self):
        for index, stream in enumerate(self.streams):
            lengths = stream.sequences.length
            print(f"stage {index}: {len(lengths)} sequences, {int(lengths.sum()) / 1e6:.2f} million tokens, up to "
                  f"{int(lengths.max())} in one; {100 * self.padding(stream):.1f} % of what is computed is padding", flush=True)

    def to_device(self, tensor):
        return tensor if self.on_cpu else tensor.pin_memory().to(self.device, non_blocking=True)

    def log(self, **row):
        line = json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()})
        self.log_file.write(line + "\n")
        print(line, flush=True)

    def logits(self, batch):
        # A batch of one row, or without gradients, would be compiled anew.
        once = self.compiled and (len(batch.inputs) == 1 or not torch.is_grad_enabled())
        with torch.compiler.set_stance("force_eager") if once else contextlib.nullcontext():
            return self.model(self.to_device(batch.inputs), self.to_device(batch.at))

    def after_control(self, batch):
        return self.controls[batch.inputs.reshape(-1)[batch.at]]

    def take(self, stream):
        """The next step's sequences of the stream, and how many tokens they are."""
        indices, tokens, limit = [], 0, self.options["micro_tokens"]
        while tokens < self.options["step_tokens"] - limit // 2:
            indices.extend(stream.next())
            tokens = int(stream.sequences.length[indices].sum())
        return indices, tokens

    def deal(self, sequences, indices):
        """The batches of each process."""
        return data.deal(sequences.length, indices, self.peers.size, self.options["micro_tokens"])

    def padding(self, stream, steps=50):
        """Share of what the next steps would compute."""
        stream, used, computed = copy.copy(stream), 0, 0  # the stream itself does not move
        length = stream.sequences.length
        for _ in range(steps):
            indices, tokens = self.take(stream)
            used += tokens
            computed += sum(len(batch) * int(length[batch].max())
                            for hand in self.deal(stream.sequences, indices) for batch in hand)
        return 1 - used / computed

    def train_step(self, budget):
        """One optimizer step over micro-batches of different lengths; returns (loss, norm of its gradient, tokens), the first two as tensors."""
        stream = self.streams[self.stage(budget)]
        sequences, (indices, tokens) = stream.sequences, self.take(stream)
        count = int(sequences.targets[indices].sum())
        total = torch.zeros((), device=self.device)
        for batch in self.deal(sequences, indices)[self.peers.rank]:
            b = data.pad(sequences, batch)
            loss = F.cross_entropy(self.logits(b), self.to_device(b.target), reduction="sum") / count
            loss.backward()
            total += loss.detach()
        total = self.peers.add_up(self.model, total)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options["clip"])
        self.optimizers.step(rate(self.tokens, budget, self.options))
        self.step += 1
        self.tokens += tokens
        return total, norm, tokens

    @torch.no_grad()
    def validate(self, limit=400):
        """Teacher-forced, over the first `limit` sequences of each file."""
        rows = {}
        for name, sequences in self.valid.items():
            loss, right, count, exact, total, after_right, after_count = 0.0, 0, 0, 0, 0, 0, 0
            order = np.argsort(sequences.length[:limit], kind="stable")
            for indices in data.cut(sequences.length, self.options["micro_tokens"], order):
                b = data.pad(sequences, indices)
                logits = self.logits(b).cpu()
                loss += float(F.cross_entropy(logits, b.target, reduction="sum"))
                hit = logits.argmax(-1) == b.target
                wrong = np.zeros(len(indices), dtype=bool)
                wrong[b.sequence[~hit.numpy()]] = True
                after = self.after_control(b)
                right, count = right + int(hit.sum()), count + len(hit)
                exact, total = exact + int((~wrong).sum()), total + len(indices)
                after_right, after_count = after_right + int(hit[after].sum()), after_count + int(after.sum())
            rows[name] = {"loss": round(loss / count, 5), "token_acc": round(right / count, 5),
                          "seq_acc": round(exact / total, 5),
                          "after_control_acc": round(after_right / max(1, after_count), 5), "sequences": total}
        return rows

    def train(self, log_steps=10, checkpoint_minutes=2.0, valid_minutes=4.0, max_steps=None):
        """Runs to the budget, SIGTERM/SIGINT or max_steps; always leaves a checkpoint."""
        previous = [(s, signal.signal(s, lambda *_: setattr(self, "stop", True)))
                    for s in (signal.SIGTERM, signal.SIGINT)]
        self.peers.meet()
        is_first = self.peers.rank == 0
        if is_first:
            self.describe()
        saved = validated = mark = time.monotonic()
        seen, decaying, first_step = 0, False, self.step
        budget = self.budget()
        while True:
            goes_on = self.tokens < budget and not self.stop and (max_steps is None or self.step < max_steps)
            budget, goes_on = self.peers.follow(budget, goes_on)
            if not goes_on:
                break
            if is_first and not decaying and self.tokens >= (1 - self.options["decay"]) * budget:
                decaying = True  # from here a longer training would have to go back: keep this point
                if not (self.run / "stable.pt").exists():
                    checkpoint.save(self.run / "stable.pt", self.state())
            begin = time.monotonic()
            loss, norm, tokens = self.train_step(budget)
            if not is_first:
                continue
            self.losses.append(loss)
            self.norms.append(norm)
            seen += tokens
            is_logged = self.step % log_steps == 0
            if is_logged:
                self.settled()
            now = time.monotonic()
            self.seconds += now - begin
            if is_logged:
                self.log(step=self.step, tokens=self.tokens, loss=sum(self.losses) / len(self.losses),
                         lr=rate(self.tokens, budget, self.options) * self.optimizers.base[0],
                         tok_s=round(seen / (now - mark)), stage=self.stage(budget),
                         hours=self.seconds / 3600)
                self.losses, seen, mark = [], 0, now
                budget = self.budget()
            if now - saved > checkpoint_minutes * 60:
                checkpoint.save(self.checkpoint, self.state())
                saved = time.monotonic()
            if self.valid and now - validated > valid_minutes * 60:
                self.log(step=self.step, tokens=self.tokens, valid=self.validate())
                validated = mark = time.monotonic()
                seen = 0
        self.peers.part()
        if is_first:
            checkpoint.save(self.checkpoint, self.state())
        if is_first and self.valid and not self.stop and self.step > first_step:
            self.log(step=self.step, tokens=self.tokens, valid=self.validate())
        for s, handler in previous:
            signal.signal(s, handler)
        self.close()
        return self

    def close(self):
        """Lets another training use the folder."""
        self.log_file.close()
