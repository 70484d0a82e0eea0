# SPDX-License-Identifier: Apache-2.0
"""Teaches calls and interrupts to a model of others: the trainer's loop around a transformers model."""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from . import hf, tokenizer, trainer
from .options import FINETUNE


class Model(nn.Module):
    """What the trainer asks of a model, of any causal language model of transformers."""

    def __init__(self, folder, lora=0):
        super().__init__()
        self.folder, self.bf16 = Path(folder), False
        self.words = hf.load_tokenizer(folder)
        missing = [m for m in tokenizer.MARKERS if m not in self.words.get_vocab()]
        if missing:
            raise SystemExit(f"{folder}: its tokenizer lacks {', '.join(missing)}; './dev train prepare' adds the markers")
        self.inner = hf.load_model(folder)
        config = self.inner.config
        shape = {"folder": str(self.folder.resolve()), "lora": lora, "vocab": config.vocab_size,
                 "context": config.max_position_embeddings}
        self.config = SimpleNamespace(**shape, to_dict=lambda: dict(shape))
        self.controls = [self.words.convert_tokens_to_ids(m) for m in tokenizer.MARKERS]
        if lora:
            self.inner = self.with_lora(self.inner, lora)

    @staticmethod
    def with_lora(model, rank):
        try:
            import peft
        except ImportError as error:
            raise SystemExit("--lora needs the Python package peft") from error
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
        # The markers' rows are new: they have to be trained as they are. Not by peft (modules_to_save), which trains a copy
        # of each matrix: where the two are one, the merged model would lose the one of the output.
        for embeddings in (model.get_input_embeddings(), model.get_output_embeddings()):
            embeddings.weight.requires_grad_(True)
        return adapted

    def use_bf16(self):
        self.bf16 = True

    def forward(self, tokens, at=None):
        """As model.Model: ids [batch, length], padded on the right, to logits everywhere or at the flat positions `at`. Padding needs no mask: it comes
        after all that counts, and attention is causal."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.inner(input_ids=tokens, use_cache=False).logits
        return (logits if at is None else logits.flatten(0, 1)[at]).float()

    def save(self, folder):
        model = self.inner.merge_and_unload() if self.config.lora else self.inner
        model.save_pretrained(folder)
        self.words.save_pretrained(folder)


def main(base, run, stages, valid, options, lora, device, log_steps, checkpoint_minutes, valid_minutes, max_steps):
    options = {**FINETUNE, **options}
    torch.manual_seed(options["seed"])
    model = Model(base, lora)
    training = trainer.Trainer(run, model, stages, valid, options, device=device)
    training.train(log_steps, checkpoint_minutes, valid_minutes, max_steps)
    if training.tokens < training.budget():
        print(f"{run}: stopped at step {training.step}; the same command goes on from there")
        return
    model.to("cpu").save(Path(run) / "model")
    print(f"{run}/model: the model; './dev train export --run {run} --out FILE.gguf' writes it as GGUF")
