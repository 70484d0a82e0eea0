# SPDX-License-Identifier: Apache-2.0
"""A training's whole state in one file, replaced in one piece."""

import os
import pickle

import torch


def save(path, state):
    """Leaves the file as it was where the disk has no room."""
    partial = path.with_suffix(".partial")
    try:
        torch.save(state, partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch's own writer knows only RuntimeError
        partial.unlink(missing_ok=True)
        raise SystemExit(f"{path}: cannot write it, is the disk full? What was saved before is whole.\n"
                         f"{error}") from error


def load(path):
    """The state; tensors and plain values only, so that a file from elsewhere can run no code."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if "config" not in state or "model" not in state:
            raise ValueError("it lacks the model")
        return state
    except (RuntimeError, EOFError, ValueError, TypeError, KeyError, pickle.UnpicklingError) as error:
        raise SystemExit(f"{path}: not a checkpoint of this trainer, or a damaged one") from error
