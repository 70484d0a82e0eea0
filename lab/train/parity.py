# SPDX-License-Identifier: Apache-2.0
"""Compares PyTorch's logits with libllama's on the same random tokens."""

import numpy as np
import torch

from . import export, llama


def compare(model, path, sequences=3, length=200, seed=1):
    """(largest difference, largest magnitude, share of equal argmax) over random sequences."""
    torch.set_float32_matmul_precision("highest")  # training may have set less
    rng = np.random.default_rng(seed)
    difference = magnitude = same = 0.0
    for _ in range(sequences):
        ids = rng.integers(0, model.config.vocab, length)
        with torch.no_grad():
            ours = model(torch.from_numpy(ids)[None])[0].numpy()
        file = llama.Llama(path, n_ctx=max(256, length))
        theirs = file.logits(ids.tolist())
        file.close()
        difference = float(np.maximum(difference, np.abs(ours - theirs).max()))  # nan where one is
        magnitude = max(magnitude, float(np.abs(ours).max()))
        same += float((ours.argmax(-1) == theirs.argmax(-1)).mean()) / sequences
    return difference, magnitude, same


def main(run, path, limit):
    folder = export.hugging_face_folder(run)
    if folder:
        from . import finetune, hf  # slow to import

        model = finetune.Model(folder).eval()
        hf.Vocabulary(model.words, model.config.vocab).check(path)
    else:
        model = export.load_model(run)
    difference, magnitude, same = compare(model, path)
    print(f"{path}: largest difference {difference:.2e} (largest logit {magnitude:.2f}), "
          f"equal argmax {100 * same:.2f} %")
    if limit is not None and not difference <= limit:
        raise SystemExit(f"{path}: difference {difference:.2e} is over {limit:g}")
