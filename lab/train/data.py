# SPDX-License-Identifier: Apache-2.0
"""JSONL of token ids and loss ranges -> flat arrays -> batches of similar length.

The batch order is a function of (seed, stage, position) alone, so that a resumed run continues it.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch


class Sequences:
    """Sequence i is tokens[start[i]:start[i+1]]; loss marks the tokens that count as targets."""

    def __init__(self, tokens, loss, start):
        self.tokens, self.loss, self.start = tokens, loss, start
        self.length = np.diff(start)
        self.targets = np.add.reduceat(loss, start[:-1], dtype=np.int64)  # tokens of each that count

    def __len__(self):
        return len(self.length)


def read_jsonl(path, vocab=None, context=None):
    tokens, loss, start = [], [], [0]
    with open(path, "rb") as file:  # bytes: a line that is no UTF-8 is that line's error
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                ids = np.asarray(row["tokens"], dtype=np.uint16 if (vocab or 0) <= 1 << 16 else np.uint32)
                mask = np.zeros(len(ids), dtype=bool)
                for begin, end in row["loss"]:
                    if not 0 <= begin <= end <= len(ids):
                        raise ValueError(f"loss range {begin}..{end} outside 0..{len(ids)}")
                    mask[begin:end] = True
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise SystemExit(f"{path}:{number}: not a training sequence: {error!r}") from error
            if context and len(ids) > context:
                raise SystemExit(f"{path}:{number}: {len(ids)} tokens, the model's context is {context}")
            if len(ids) and mask[:1].any():
                mask[0] = False  # nothing precedes the first token: it cannot be a target
            if not mask.any():
                continue
            tokens.append(ids)
            loss.append(mask)
            start.append(start[-1] + len(ids))
    if not tokens:
        raise SystemExit(f"{path}: no sequence with loss tokens")
    tokens = np.concatenate(tokens)
    if vocab and tokens.max() >= vocab:
        raise SystemExit(f"{path}: token id {tokens.max()}, the vocabulary has {vocab}")
    return Sequences(tokens, np.concatenate(loss), np.asarray(start, dtype=np.int64))


def cache_of(path, cache_dir):
    info = Path(path).stat()
    return Path(cache_dir) / f"{Path(path).stem}-{info.st_size:x}-{info.st_mtime_ns:x}.npz"


def load(path, cache_dir, vocab=None, context=None):
    """read_jsonl with an .npz of the arrays kept in cache_dir."""
    cache = cache_of(path, cache_dir)
    if cache.exists():
        with np.load(cache) as arrays:
            return Sequences(arrays["tokens"], arrays["loss"], arrays["start"])
    sequences = read_jsonl(path, vocab, context)
    partial = cache.with_suffix(".tmp.npz")
    try:
        np.savez(partial, tokens=sequences.tokens, loss=sequences.loss, start=sequences.start)
        partial.rename(cache)
    finally:
        partial.unlink(missing_ok=True)
    return sequences


MUCH = 100e6  # bytes to read that are worth starting processes for


def prepare(paths, cache_dir, vocab=None, context=None):
    """Has load() keep the arrays of all of them, with all cores where there is much to read."""
    missing = [path for path in dict.fromkeys(paths) if not cache_of(path, cache_dir).exists()]
    if len(missing) > 1 and sum(Path(path).stat().st_size for path in missing) > MUCH:
        with ProcessPoolExecutor(min(len(missing), len(os.sched_getaffinity(0))), get_context("spawn")) as pool:
            list(pool.map(keep, missing, repeat(cache_dir), repeat(vocab), repeat(context)))


def keep(*arguments):
    """load() for another process, to which nothing goes back."""
    load(*arguments)


def concatenate(parts):
    if len(parts) == 1:
        return parts[0]
    start = [np.zeros(1, dtype=np.int64)]
    for part in parts:
        start.append(part.start[1:] + start[-1][-1])
    return Sequences(np.concatenate([p.tokens for p in parts]),
                     np.concatenate([p.loss for p in parts]), np.concatenate(start))


def cut(lengths, limit, order):
    """Cuts `order` into runs whose padded size stays within limit (at least one sequence each)."""
    batches, current, longest = [], [], 0
    for i in order:
        grown = max(longest, lengths[i])
        if current and grown * (len(current) + 1) > limit:
            batches.append(np.asarray(current))
            current, grown = [], lengths[i]
        current.append(i)
        longest = grown
    if current:
        batches.append(np.asarray(current))
    return batches


def deal(lengths, indices, hands, limit):
    """Sequences for so many processes, which then have about as much to do: the batches of each. The longest first,
    each to whom has least so far; attention over 2,000 tokens takes about as long as all the rest."""
    dealt, load = [[] for _ in range(hands)], [0.0] * hands
    for i in sorted(indices, key=lambda i: -lengths[i]):
        hand = load.index(min(load))
        dealt[hand].append(i)
        load[hand] += lengths[i] * (1 + lengths[i] / 2000)
    return [cut(lengths, limit, hand[::-1]) for hand in dealt]


class Stream:
    """Endless batches over one stage's sequences; `position` is all the state there is."""

    def __init__(self, sequences, limit, seed, position=0):
        self.sequences, self.limit, self.seed = sequences, limit, seed
        self.epoch, self.batches = 0, self._plan(0)
        self.position = position  # batches taken since the start
        self.skip = position
        while self.skip >= len(self.batches):
            self.skip -= len(self.batches)
            self._next_epoch()

    def _plan(self, epoch):
        rng = np.random.default_rng((self.seed, epoch))
        # Noise on the length keeps neighbours from being the same in every epoch.
        order = np.argsort(self.sequences.length * rng.uniform(0.95, 1.05, len(self.sequences)), kind="stable")
        batches = cut(self.sequences.length, self.limit, order)
        rng.shuffle(batches)
        return batches

    def _next_epoch(self):
        self.epoch += 1
        self.batches = self._plan(self.epoch)

    def next(self):
        """The indices of a batch's sequences."""
        if self.skip == len(self.batches):
            self.skip = 0
            self._next_epoch()
        self.skip += 1
        self.position += 1
        return self.batches[self.skip - 1]


class Batch:
    """Right-padded inputs; `at` are flat positions whose next token `target` counts."""

    def __init__(self, inputs, at, target, sequence):
        self.inputs, self.at, self.target, self.sequence = inputs, at, target, sequence


def pad(sequences, indices):
    longest = int(sequences.length[indices].max())
    tokens = np.zeros((len(indices), longest), dtype=np.int64)
    loss = np.zeros((len(indices), longest), dtype=bool)
    for row, i in enumerate(indices):
        begin, end = sequences.start[i], sequences.start[i + 1]
        tokens[row, :end - begin] = sequences.tokens[begin:end]
        loss[row, :end - begin] = sequences.loss[begin:end]
    inputs, counted = tokens[:, :-1], loss[:, 1:]
    at = np.flatnonzero(counted)
    return Batch(torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(at),
                 torch.from_numpy(np.ascontiguousarray(tokens[:, 1:]).reshape(-1)[at]), at // (longest - 1))
