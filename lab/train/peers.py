# SPDX-License-Identifier: Apache-2.0
"""Processes that train one model together, each on a part of a step's batches. On CPU cores that is faster than one
process with as many threads: a small model's operations are too short to be divided."""

import multiprocessing
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

PATIENCE = timedelta(minutes=30)  # a validation, which the others wait for, is shorter


class Alone:
    """A training in one process."""

    rank = 0  # all others do as this one says
    size = 1

    def meet(self):
        """Waits until all are there."""

    def part(self):
        """No more is exchanged."""

    def follow(self, *values):
        """The numbers of rank 0."""
        return values

    def add_up(self, model, value):
        """Sums the gradients of all; returns the sum of the values, which are tensors of one number."""
        return value


class Peers(Alone):
    def __init__(self, rank, size, meeting, helpers=()):
        """meeting: a path where no file is, the same for all; helpers: the processes of the other ranks, which rank 0
        starts when it has read what they are to read too."""
        self.rank, self.size, self.meeting, self.helpers = rank, size, meeting, helpers

    def meet(self):
        for helper in self.helpers:
            helper.start()
        distributed.init_process_group("gloo", f"file://{self.meeting}", PATIENCE, self.size, self.rank)

    def part(self):
        distributed.destroy_process_group()
        for helper in self.helpers:
            helper.join()

    def follow(self, *values):
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(tensor, 0)
        return tensor.tolist()

    def add_up(self, model, value):
        parameters = list(model.parameters())
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([value.view(1), *(part.flatten() for part in parts)])
        distributed.all_reduce(flat)
        for parameter, grad in zip(parameters, flat[1:].split([p.numel() for p in parameters])):
            parameter.grad = grad.view_as(parameter)
        return flat[0].clone()  # a view would keep all gradients


def help_out(threads, arguments, loop, *place):
    from .trainer import Trainer

    torch.set_num_threads(threads)
    Trainer(**arguments, peers=Peers(*place)).train(**loop)


def train(processes, threads, arguments, loop):
    """Trainer(**arguments).train(**loop) in so many processes of so many threads."""
    from .trainer import Trainer

    torch.set_num_threads(threads)
    if processes == 1:
        return Trainer(**arguments).train(**loop)
    with tempfile.TemporaryDirectory() as folder:
        meeting, spawn = Path(folder) / "meeting", multiprocessing.get_context("spawn")
        helpers = [spawn.Process(target=help_out, args=(threads, arguments, loop, rank, processes, meeting), daemon=True)
                   for rank in range(1, processes)]
        try:
            return Trainer(**arguments, peers=Peers(0, processes, meeting, helpers)).train(**loop)
        except BaseException:
            for helper in helpers:  # it may wait for this process, and ends at no gentler signal then
                if helper.is_alive():
                    helper.kill()
            if distributed.is_initialized():
                distributed.destroy_process_group()
            raise
