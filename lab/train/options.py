# SPDX-License-Identifier: Apache-2.0
"""What a training can be told, and what it does if it is not: without PyTorch, for --help."""

DEFAULTS = {
    "lr": 0.014,  # Muon: update of spectral norm about lr per step
    "embd_lr": 0.0028,  # AdamW: embeddings and norms
    "optimizer": "muon",
    "step_tokens": 6144,
    "micro_tokens": 3072,  # what a forward pass holds: small keeps activations near the cache
    "warmup": 0.3,  # million tokens
    "decay": 0.7,  # share of the budget in which the rate falls to zero
    "clip": 1.0,
    "seed": 1,
    "precision": "auto",  # of products: f32, bf16, or auto: bf16 where the hardware has it
}

# Of a model that knows something already: AdamW at a rate that keeps it.
FINETUNE = {**DEFAULTS, "optimizer": "adamw", "lr": 2e-5, "step_tokens": 32768, "micro_tokens": 8192, "warmup": 0.1, "decay": 0.9}

MEANING = {
    "lr": "highest rate of the optimizer; of pretrain's Muon, that of the matrices",
    "embd_lr": "of Muon's training, the rate of embeddings and norms",
    "step_tokens": "tokens of a step of the optimizer",
    "micro_tokens": "tokens of a forward pass, padding included: less takes less memory",
    "warmup": "million tokens in which the rate rises",
    "decay": "share of all tokens, at the end, in which the rate falls to zero",
    "clip": "longest gradient",
    "seed": "of the weights and of the order of the batches",
}
