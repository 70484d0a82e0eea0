# SPDX-License-Identifier: Apache-2.0
"""./dev train test"""

import contextlib
import io
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from train import checkpoint, data, export, finetune, hf, hostile, llama, muon, parity, peers, recipes, tokenizer, trainer
from train.__main__ import parse
from train.model import CONFIGS, AttentionBf16, Config, Model, attention_bf16


def open_llama(path, **arguments):
    try:
        return llama.Llama(path, **arguments)
    except OSError as error:
        if "need" in str(error) or "cannot open shared" in str(error):
            raise unittest.SkipTest(str(error)) from error
        raise


class TokenizerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.python = tokenizer.load()
        cls.llama = open_llama(tokenizer.SHIPPED / "vocab.gguf", vocab_only=True)

    def test_size_and_controls(self):
        self.assertEqual(self.llama.n_vocab, tokenizer.VOCAB_SIZE)
        ids = [self.python.token_to_id(name) for name in tokenizer.CONTROLS]
        self.assertEqual(ids, list(range(tokenizer.VOCAB_SIZE - len(ids), tokenizer.VOCAB_SIZE)))
        for name, i in zip(tokenizer.CONTROLS, ids):
            self.assertTrue(self.llama.lib.llama_vocab_is_control(self.llama.vocab, i), name)
            self.assertEqual(self.llama.tokenize(name.encode(), parse_special=True), [i])
        eog = [i for i in range(self.llama.n_vocab) if self.llama.lib.llama_vocab_is_eog(self.llama.vocab, i)]
        self.assertEqual(eog, [self.python.token_to_id(tokenizer.END_OF_TEXT)])

    def test_hostile_text(self):
        first_control = tokenizer.VOCAB_SIZE - len(tokenizer.CONTROLS)
        for text in hostile.mixed(3000):
            data = text.encode()
            ids = self.llama.tokenize(data)
            self.assertEqual(ids, tokenizer.encode(self.python, text), repr(text))
            self.assertLess(max(ids), first_control, repr(text))
            self.assertEqual(self.llama.detokenize(ids), data)
            self.assertEqual(self.llama.detokenize_at_once(ids), data)
            self.assertEqual(self.python.decode(ids, skip_special_tokens=False), text)

    def test_the_cases_of_the_other_tests_are_current(self):
        path = Path(__file__).parents[2] / "tests" / "data" / "tokenizer_hostile.json"
        self.assertEqual(path.read_text(encoding="ascii"), hostile.cases())

    def test_merges_stay_in_letter_runs(self):
        for i in range(tokenizer.VOCAB_SIZE - len(tokenizer.CONTROLS)):
            piece = self.llama.detokenize([i])
            self.assertTrue(len(piece) == 1 or piece.isalpha() and piece.isascii(), piece)


def write_toy(path, seed, n=60):
    """Sequences whose answer repeats a word given before, in the data format."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(n):
            word = [rng.randrange(256, 2039) for _ in range(rng.randint(1, 4))]
            filler = [rng.randrange(256) for _ in range(rng.randint(5, 40))]
            ids = [2044, *word, *filler, 2046, *word, 2047]
            file.write(json.dumps({"tokens": ids, "loss": [[len(ids) - len(word) - 1, len(ids)]]}) + "\n")


@contextlib.contextmanager
def toys(names="abv"):
    """A folder with NAME.jsonl of each."""
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(names):
            write_toy(Path(folder) / f"{name}.jsonl", seed)
        yield Path(folder)


class DataTest(unittest.TestCase):
    def test_targets_are_exactly_the_loss_ranges(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.jsonl"
            rows = [{"tokens": [5, 6, 7, 8], "loss": [[0, 1], [2, 4]]}, {"tokens": [9, 10, 11], "loss": [[1, 2]]},
                    {"tokens": [1, 2], "loss": []}]
            path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
            sequences = data.load(path, folder)
            self.assertEqual(len(sequences), 2)
            batch = data.pad(sequences, np.array([0, 1]))
            self.assertEqual(batch.inputs.tolist(), [[5, 6, 7], [9, 10, 11]])
            self.assertEqual(batch.at.tolist(), [1, 2, 3])
            self.assertEqual(batch.target.tolist(), [7, 8, 10])
            self.assertEqual(batch.sequence.tolist(), [0, 0, 1])
            self.assertEqual(sequences.targets.tolist(), [2, 1])
            again = data.load(path, folder)  # from the cache
            self.assertTrue((again.tokens == sequences.tokens).all() and (again.loss == sequences.loss).all())

    def test_bad_input_names_the_line(self):
        for line in (b'{"tokens": [1, 2], "loss": [[0, 3]]}', b'{"tokens": [1, 2]}', b'[]', b'{"tokens": [1', b"",
                     b'{"tokens": [70000], "loss": [[0, 1]]}', b'{"tokens": [1, 2], "loss": [1]}', b'{"\xff": 1}'):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "x.jsonl"
                path.write_bytes(b'{"tokens": [1, 2], "loss": [[1, 2]]}\n' + line + b"\n")
                with self.assertRaisesRegex(SystemExit, "x.jsonl:2"):
                    data.read_jsonl(path)

    def test_much_is_read_by_several_processes(self):
        with toys("ab") as folder, unittest.mock.patch.object(data, "MUCH", 0):
            files = [folder / "a.jsonl", folder / "b.jsonl"]
            data.prepare(files, folder)
            self.assertTrue(all(data.cache_of(file, folder).exists() for file in files))
            (folder / "c.jsonl").write_text("{", encoding="utf-8")
            with self.assertRaisesRegex(SystemExit, "c.jsonl:1: not a training sequence"):
                data.prepare([folder / "c.jsonl", shutil.copy(files[0], folder / "d.jsonl")], folder)

    def test_an_epoch_has_every_sequence_once_and_position_resumes(self):
        with tempfile.TemporaryDirectory() as folder:
            write_toy(Path(folder) / "x.jsonl", 1)
            sequences = data.read_jsonl(Path(folder) / "x.jsonl")
            stream = data.Stream(sequences, 300, 1)
            taken = sorted(i for batch in stream.batches for i in batch)
            self.assertEqual(taken, list(range(len(sequences))))
            seen = [stream.next() for _ in range(3 * len(stream.batches))]
            for position in (0, 1, len(seen) // 2, len(seen) - 1):
                later = data.Stream(sequences, 300, 1, position).next()
                self.assertEqual(later.tolist(), seen[position].tolist())

    def test_what_is_dealt_is_about_as_much_for_each(self):
        lengths = np.random.default_rng(1).integers(50, 1500, 40)
        for hands in (1, 2, 3):
            dealt = data.deal(lengths, range(40), hands, 3000)
            self.assertEqual(sorted(i for hand in dealt for batch in hand for i in batch), list(range(40)))
            for batch in (batch for hand in dealt for batch in hand):
                self.assertLessEqual(lengths[batch].max() * len(batch), 3000)
            load = [sum(lengths[i] * (1 + lengths[i] / 2000) for batch in hand for i in batch) for hand in dealt]
            self.assertLess(max(load), 1.1 * min(load))
        self.assertEqual(data.deal(np.array([7]), [0], 2, 5)[1], [])


class OptionsTest(unittest.TestCase):
    def test_files_add_up(self):
        """An option given again must not make the files before it forgotten."""
        given = ["--run", "r", "--stage", "a:1"]
        self.assertEqual(parse(["pretrain", "--config", "tiny", *given, "--valid", "a", "b", "--valid", "c"]).valid, ["a", "b", "c"])
        self.assertEqual(parse(["pretrain", "--config", "tiny", *given]).valid, [])


class RateTest(unittest.TestCase):
    def test_warms_up_holds_and_falls(self):
        options = {**trainer.DEFAULTS, "step_tokens": 1000, "warmup": 0.1, "decay": 0.5}
        million = lambda m: trainer.rate(m * 1e6 - 1000, 10e6, options)
        self.assertAlmostEqual(million(0.05), 0.5, 4)
        self.assertEqual(million(0.5), 1.0)
        self.assertEqual(million(5.0), 1.0)
        self.assertAlmostEqual(million(7.5), 0.5, 3)
        self.assertEqual(trainer.rate(10e6, 10e6, options), 0.0)

    def test_wrong_options_are_named(self):
        for options, said in (({"lr": 0.0}, "--lr 0.0"), ({"decay": math.nan}, "--decay nan"),
                              ({"step_tokens": 0}, "--step-tokens 0"), ({"warmup": -1.0}, "--warmup -1.0")):
            with self.assertRaises(SystemExit) as raised:
                trainer.Trainer("/nowhere", "tiny", [], options=options)
            self.assertIn(said, str(raised.exception))


class TrainerTest(unittest.TestCase):
    def run_trainer(self, folder, name, steps, log_steps=1, **more):
        options = {"step_tokens": 600, "micro_tokens": 300, "warmup": 0.002, **more}
        stages = [([str(folder / "a.jsonl")], 6e3), ([str(folder / "b.jsonl")], 6e3)]
        with contextlib.redirect_stdout(io.StringIO()):
            return trainer.Trainer(folder / name, "tiny", stages, [str(folder / "v.jsonl")], options).train(
                log_steps=log_steps, max_steps=steps)

    def curve(self, run):
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        return [(r["step"], r["tokens"], r["loss"], r["stage"]) for r in rows if "loss" in r]

    def test_resume_gives_the_same_curve(self):
        torch.set_num_threads(1)
        with toys() as folder:
            whole = self.run_trainer(folder, "whole", 14, log_steps=2)
            for steps in (3, 4, 11, 14):
                parts = self.run_trainer(folder, "parts", steps, log_steps=2)
            self.assertEqual(self.curve(folder / "whole"), self.curve(folder / "parts"))
            self.assertEqual({row[3] for row in self.curve(folder / "whole")}, {0, 1})
            for name, weight in whole.model.state_dict().items():
                self.assertTrue(torch.equal(weight, parts.model.state_dict()[name]), name)

    def test_processes_train_as_one_does(self):
        with toys() as folder:
            stages = [([str(folder / "a.jsonl")], 6e3), ([str(folder / "b.jsonl")], 6e3)]
            trained = {}
            for processes in (1, 2):
                for steps in (5, 12):  # the second time it goes on
                    with contextlib.redirect_stdout(io.StringIO()):
                        trained[processes] = peers.train(processes, 1, {
                            "run": folder / str(processes), "config": "tiny", "stages": stages,
                            "options": {"step_tokens": 600, "micro_tokens": 300, "warmup": 0.002, "precision": "f32"},
                        }, {"log_steps": 1, "max_steps": steps})
            one, two = (self.curve(folder / str(processes)) for processes in (1, 2))
            self.assertEqual([row[0] for row in one], list(range(1, 13)))
            for a, b in zip(one, two, strict=True):
                self.assertEqual((a[0], a[1], a[3]), (b[0], b[1], b[3]))
                self.assertAlmostEqual(a[2], b[2], delta=0.005)
            # Sums round otherwise, and Muon makes more of it. Biases of keys have next to no gradient: theirs is noise.
            for name, weight in trained[1].model.state_dict().items():
                if name.endswith("_bias"):
                    continue
                other = trained[2].model.state_dict()[name]
                self.assertLess(float((weight - other).norm() / weight.norm()), 0.1, name)

    def test_starts_from_weights_rotated_otherwise(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            write_toy(folder / "a.jsonl", 1)
            other = Model(Config(**{**CONFIGS["tiny"].to_dict(), "rotated": 1.0, "rope_base": 1e4})).init(3)
            export.write(other, folder / "other.gguf", "f32")
            stages = [([str(folder / "a.jsonl")], 6e3)]
            begun = trainer.Trainer(folder / "r", "tiny", stages, start=folder / "other.gguf")
            begun.close()
            self.assertEqual(begun.model.config, CONFIGS["tiny"])
            self.assertTrue(torch.equal(begun.model.token_embd, other.token_embd))
            with self.assertRaisesRegex(SystemExit, "other.gguf: of another shape"):
                trainer.Trainer(folder / "s", "nano", stages, start=folder / "other.gguf")

    def test_padding_is_what_is_computed_beyond_the_sequences(self):
        with toys() as folder:
            training = self.run_trainer(folder, "r", 1)
            stream = training.streams[0]
            position, computed, used = stream.position, 0, 0
            share = training.padding(stream, 5)
            self.assertEqual(stream.position, position)
            for _ in range(5):
                indices, tokens = training.take(stream)
                used += tokens
                for batch in training.deal(stream.sequences, indices)[0]:
                    inputs = data.pad(stream.sequences, batch).inputs  # all but the last token of each
                    computed += inputs.shape[0] * (inputs.shape[1] + 1)
            self.assertAlmostEqual(share, 1 - used / computed)
            self.assertTrue(0 < share < 0.5)

    def test_budget_file_moves_the_end(self):
        with toys() as folder:
            self.run_trainer(folder, "r", 2)
            (folder / "r" / "budget").write_text("0.004", encoding="utf-8")
            ended = self.run_trainer(folder, "r", None)
            self.assertGreaterEqual(ended.tokens, 4000)
            self.assertLess(ended.tokens, 5000)
            for nonsense in ("", "0,004", "-1", "nan"):
                (folder / "r" / "budget").write_text(nonsense, encoding="utf-8")
                with self.subTest(nonsense), contextlib.redirect_stdout(io.StringIO()) as said:
                    self.assertEqual(ended.budget(), 4000)
                    self.assertIn("budget: expected a number of million tokens; the end stays at 0.004", said.getvalue())
            with self.assertRaisesRegex(SystemExit, "budget: expected a number"):
                self.run_trainer(folder, "r", None)
            self.assertTrue((folder / "r" / "stable.pt").exists())

    def test_a_loss_that_is_no_number_ends_it(self):
        with toys() as folder:
            for name, log_steps in (("logged", 1), ("saved", 1000)):
                before = self.run_trainer(folder, name, 2).checkpoint.read_bytes()
                with self.assertRaisesRegex(SystemExit, "gradient is no number any more.*lower --lr"):
                    self.run_trainer(folder, name, 6, log_steps, lr=1e30, embd_lr=1e30)
                self.assertEqual((folder / name / "checkpoint.pt").read_bytes(), before)
            # With two processes too, of which the other waits for this one.
            stages = [([str(folder / "a.jsonl")], 6e3)]
            with contextlib.redirect_stdout(io.StringIO()), self.assertRaisesRegex(SystemExit, "is no number any more"):
                peers.train(2, 1, {"run": folder / "two", "config": "tiny", "stages": stages, "options": {"lr": 1e30, "embd_lr": 1e30}},
                            {"log_steps": 1})
            # A gradient that is none beside a loss that is one: told before the weights it spoils are saved.
            spoiled = trainer.Trainer(folder / "gradient", "tiny", stages, options={"step_tokens": 600, "micro_tokens": 300})
            spoiled.model.token_embd.register_hook(lambda grad: grad * math.inf)
            with self.assertRaisesRegex(SystemExit, "is no number any more"):
                spoiled.train(log_steps=1000, max_steps=1)
            self.assertFalse(spoiled.checkpoint.exists())

    def test_goes_on_with_other_passes_in_the_same_data(self):
        """A run begun on a GPU, in one pass a step, and gone on with on a CPU sees each sequence once; other data it refuses."""
        with toys() as folder:
            self.run_trainer(folder, "parts", 1, micro_tokens=600)
            parts = self.run_trainer(folder, "parts", 2, micro_tokens=200)
            stream = parts.streams[0]
            self.assertGreater(stream.position, 1)
            self.assertLessEqual(stream.position, len(stream.batches))
            self.assertEqual(parts.tokens, sum(int(stream.sequences.length[b].sum()) for b in stream.batches[:stream.position]))
            with self.assertRaisesRegex(SystemExit, "has begun stage 0 with other data .a.jsonl.; give another --run"):
                trainer.Trainer(folder / "parts", "tiny", [([str(folder / "b.jsonl")], 6e3)])

    def test_bad_requests_are_told(self):
        for stage in ("a.jsonl", "a.jsonl:x", "a.jsonl:0", ":2", "a,,b:1", "a:inf"):
            with self.assertRaisesRegex(SystemExit, "--stage"):
                trainer.parse_stage(stage)
        with toys() as folder:
            stages = [([str(folder / "a.jsonl")], 6e3)]
            first = self.run_trainer(folder, "r", 2)
            with self.assertRaisesRegex(SystemExit, "checkpoint.pt: of another shape"):
                trainer.Trainer(folder / "r", "nano", stages)
            with self.assertRaisesRegex(SystemExit, "--optimizer muon"):
                trainer.Trainer(folder / "r", "tiny", stages, options={"optimizer": "adamw"})
            with self.assertRaisesRegex(SystemExit, "there are tiny, nano"):
                trainer.Trainer(folder / "r", "huge", stages)
            with self.assertRaises(FileNotFoundError):
                trainer.Trainer(folder / "s", "tiny", [([str(folder / "none.jsonl")], 6e3)])
            with self.assertRaisesRegex(SystemExit, "--micro-tokens 9000: more than --step-tokens"):
                trainer.Trainer(folder / "s", "tiny", stages, options={"micro_tokens": 9000})
            running = trainer.Trainer(folder / "r", "tiny", stages)
            with self.assertRaisesRegex(SystemExit, "another training runs"):
                trainer.Trainer(folder / "r", "tiny", stages)
            running.close()
            self.check_full_disk(first)
            for content in (b"", b"no checkpoint"):
                first.checkpoint.write_bytes(content)
                with self.assertRaisesRegex(SystemExit, "not a checkpoint"):
                    trainer.Trainer(folder / "r", "tiny", stages)

    def check_full_disk(self, run):
        """What a full disk does, by a limit on the size of files: the old checkpoint stays."""
        before = run.checkpoint.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        try:
            with self.assertRaisesRegex(SystemExit, "checkpoint.pt: cannot write"):
                checkpoint.save(run.checkpoint, run.state())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(run.checkpoint.read_bytes(), before)
        self.assertFalse(run.checkpoint.with_suffix(".partial").exists())

    def test_learns(self):
        with toys() as folder:
            for optimizer, rate in (("muon", 0.02), ("adamw", 0.003)):
                self.run_trainer(folder, optimizer, None, optimizer=optimizer, lr=rate)
                losses = [row[2] for row in self.curve(folder / optimizer)]
                self.assertLess(losses[-1], losses[0] - 0.5)


class AttentionTest(unittest.TestCase):
    def test_in_rows_as_whole(self):
        """Values and gradients, for lengths around those of one and two blocks of queries."""
        torch.manual_seed(1)
        rows = AttentionBf16.ROWS
        for length in (1, rows - 1, rows, rows + 1, 2 * rows + 3):
            inputs = [torch.randn(2, 3, length, 8, requires_grad=True) for _ in "qkv"]
            out = attention_bf16(*inputs)
            wanted = torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=True)
            gradient = torch.randn_like(out)
            for mine, right in zip((out, *torch.autograd.grad(out, inputs, gradient)),
                                   (wanted, *torch.autograd.grad(wanted, inputs, gradient)), strict=True):
                self.assertLess(float((mine - right).detach().norm() / right.norm().clamp(min=1e-3)), 0.02, length)


class MuonTest(unittest.TestCase):
    def test_as_pytorchs_which_takes_one_matrix_at_a_time(self):
        """But for rounding, for wide, tall and square ones, over steps; and each goes on from the other's state."""
        torch.manual_seed(1)
        start = [torch.randn(shape) for shape in ((4, 9), (9, 4), (5, 5), (4, 9))]
        grads = [[torch.randn_like(p) for p in start] for _ in range(6)]
        options = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01}
        ends = []
        for kinds in ((torch.optim.Muon,) * 2, (muon.Muon,) * 2, (torch.optim.Muon, muon.Muon)):
            weights, state = [nn.Parameter(p.clone()) for p in start], None
            for kind, part in zip(kinds, (grads[:3], grads[3:]), strict=True):
                optimizer = kind(weights, **options)
                if state:
                    optimizer.load_state_dict(state)
                for step in part:
                    for p, grad in zip(weights, step, strict=True):
                        p.grad = grad.clone()
                    optimizer.step()
                state = optimizer.state_dict()
            ends.append(weights)
        for weights in ends[1:]:
            for p, expected, begin in zip(weights, ends[0], start, strict=True):
                self.assertLess(float(((p - expected).norm() / (expected - begin).norm()).detach()), 0.02)


class CompileTest(unittest.TestCase):
    def test_two_graphs_for_all_batches(self):
        """Batches of other sizes, single rows and validation compile nothing more; losses are as without."""
        torch.set_num_threads(1)
        compile = lambda f, dynamic: torch._dynamo.optimize("aot_eager", dynamic=dynamic)(f)
        with toys("av") as folder:
            losses = {}
            for compiled in (False, True):
                torch._dynamo.reset()
                torch._dynamo.utils.counters.clear()
                run = folder / str(compiled)
                with contextlib.redirect_stdout(io.StringIO()), unittest.mock.patch.object(torch, "compile", compile):
                    trainer.Trainer(run, "tiny", [([str(folder / "a.jsonl")], 6e3)], [str(folder / "v.jsonl")],
                                    {"step_tokens": 600, "micro_tokens": 150, "precision": "f32"}, compile=compiled).train(log_steps=1)
                losses[compiled] = [row[2] for row in TrainerTest.curve(self, run)]
                self.assertEqual(torch._dynamo.utils.counters["stats"]["unique_graphs"], 2 if compiled else 0)
            self.assertEqual(len(losses[True]), len(losses[False]))
            for a, b in zip(losses[True], losses[False], strict=True):
                self.assertAlmostEqual(a, b, places=4)


class ModelTest(unittest.TestCase):
    def test_as_on_a_gpu_products_in_bf16_are_near_those_in_f32(self):
        model = Model(CONFIGS["tiny"]).init(1)
        tokens = torch.randint(0, CONFIGS["tiny"].vocab, (2, 64), generator=torch.Generator().manual_seed(1))
        at = torch.arange(100)
        exact = model(tokens, at).detach()
        model.autocast = True
        logits = model(tokens, at)
        self.assertEqual(logits.dtype, torch.float32)
        self.assertFalse(torch.equal(logits, exact))
        torch.testing.assert_close(logits, exact, rtol=0, atol=0.03 * float(exact.abs().max()))
        logits.sum().backward()
        self.assertTrue(all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters()))

    def test_parity_fails_where_a_number_is_none(self):
        with unittest.mock.patch.object(parity, "compare", lambda *_: (math.nan, 1.0, 1.0)), \
                unittest.mock.patch.object(export, "load_model", lambda _: None), contextlib.redirect_stdout(io.StringIO()):
            with self.assertRaisesRegex(SystemExit, "difference nan is over"):
                parity.main("/nowhere", "model.gguf", 1e-3)

    def test_sizes(self):
        with torch.device("meta"):
            sizes = {name: sum(p.numel() for p in Model(CONFIGS[name]).parameters()) for name in ("nano", "mini")}
        self.assertEqual({name: round(size / 1e6, 1) for name, size in sizes.items()}, {"nano": 3.1, "mini": 33.2})


class ExportTest(unittest.TestCase):
    def test_libllama_computes_the_same_logits(self):
        torch.manual_seed(1)
        for changes in ({}, {"heads": 4, "kv_heads": 4}):
            config = Config(**{**CONFIGS["tiny"].to_dict(), **changes})
            random_model = Model(config).init(1)
            with torch.no_grad():  # zero-initialised and unit parameters would hide mistakes
                for parameter in random_model.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            with tempfile.TemporaryDirectory() as folder:
                for kind, limit in (("f32", 1e-3), ("f16", 0.05), ("q8_0", 0.8)):
                    path = Path(folder) / f"{kind}.gguf"
                    export.write(random_model, path, kind)
                    open_llama(path, vocab_only=True).close()
                    difference, magnitude, _ = parity.compare(random_model, path, sequences=1, length=100)
                    self.assertGreater(magnitude, 1)
                    self.assertLess(difference, limit, kind)
                    print(f"{kind}, {config.kv_heads} of {config.heads} heads for keys: largest difference "
                          f"{difference:.1e}, largest logit {magnitude:.1f}")
                again = export.read(Path(folder) / "f32.gguf")
                self.assertEqual(again.config, config)
                for name, weight in random_model.state_dict().items():
                    self.assertTrue(torch.equal(again.state_dict()[name], weight), name)


class RecipeTest(unittest.TestCase):
    """A recipe with another data writer, a few steps and a small shape."""

    PROGRAM = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" != --out ] || out=$2; shift; done
echo x >>"$TOY.count"
cp "$TOY" "$out"
"""

    def test_recipe_goes_on_where_it_stopped(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            write_toy(folder / "toy", 1)
            program = folder / "program"
            program.write_text(self.PROGRAM, encoding="utf-8")
            program.chmod(0o755)
            run, out = folder / "run", folder / "model.gguf"
            run.mkdir()
            (run / "easy.jsonl.partial").write_text("{", encoding="utf-8")  # as a killed one leaves it
            environment = {"TOY": str(folder / "toy")}
            stages = ((("easy",), 0.015), (("all1", "all2"), 0.01))
            toy = {"toy": recipes.Recipe("tiny", "q8_0", "cpu", stages, {"step_tokens": 600, "micro_tokens": 300}, valid=(3, 4))}
            with unittest.mock.patch.dict(os.environ, environment), unittest.mock.patch.dict(recipes.RECIPES, toy), \
                    unittest.mock.patch.object(recipes, "LONGEST_STEP", 1e3):
                with self.assertRaisesRegex(SystemExit, "--millions 0: expected more than 0.015,"):
                    recipes.main("toy", run, out, 1, program=program, total=0)
                with self.assertRaisesRegex(SystemExit, "--millions nan"):
                    recipes.main("toy", run, out, 1, program=program, total=math.nan)
                with contextlib.redirect_stdout(io.StringIO()):
                    recipes.main("toy", folder / "shorter", out, 1, program=program, total=0.02)
                first = out.read_bytes()
                with contextlib.redirect_stdout(io.StringIO()):
                    recipes.main("toy", run, out, 1, program=program)
                made, log = out.read_bytes(), (run / "log.jsonl").read_text(encoding="utf-8")
                self.assertTrue((run / "log.png").exists())
                out.unlink()
                with contextlib.redirect_stdout(io.StringIO()):
                    recipes.main("toy", run, out, 1, program=program)
                # Stopped in the second stage it goes on in its data, not at their beginning.
                stopped, train = folder / "stopped", peers.train
                shutil.copytree(run, stopped, ignore=lambda *_: ["checkpoint.pt", "log.jsonl"])

                def stopping(processes, threads, arguments, loop):
                    training = train(processes, threads, arguments, {**loop, "max_steps": 40})
                    training.stop = training.step == 40
                    return training

                with contextlib.redirect_stdout(io.StringIO()):
                    with unittest.mock.patch.object(peers, "train", stopping):
                        with self.assertRaisesRegex(SystemExit, "stopped at step 40"):
                            recipes.main("toy", stopped, out, 1, program=program)
                    with self.assertRaisesRegex(SystemExit, "stopped: has had 0.0 million tokens, more than this training"):
                        recipes.main("toy", stopped, out, 1, program=program, total=0.016)
                    recipes.main("toy", stopped, out, 1, program=program)
                    self.assertEqual(out.read_bytes(), made)
                    (stopped / "budget").write_text("1", encoding="utf-8")
                    with self.assertRaisesRegex(SystemExit, "budget: the end of a recipe cannot be moved"):
                        recipes.main("toy", stopped, out, 1, program=program)
            self.assertEqual((folder / "toy.count").read_text(encoding="utf-8"), "x\n" * 2 * len(("easy", "all1", "all2", "valid3", "valid4")))
            end, = (json.loads(line)["tokens"] for line in log.splitlines() if "valid" in line)
            self.assertGreaterEqual(end, 25e3)
            self.assertNotEqual(made, first)
            self.assertEqual((run / "log.jsonl").read_text(encoding="utf-8"), log)
            self.assertEqual(out.read_bytes(), made)
            open_llama(out, vocab_only=True).close()


class FinetuneTest(unittest.TestCase):
    """A stock Hugging Face folder with random weights, as a user has one."""

    TEMPLATE = ("{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
                "{% if add_generation_prompt %}<|assistant|>\n{% endif %}")

    def stock_folder(self, folder, kv_heads=2, tied=False, kind="Llama", sharp=False, **config):
        """sharp: attention depends on what it looks at."""
        import transformers
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

        words = Tokenizer(models.BPE())
        words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        words.decoder = decoders.ByteLevel()
        words.train_from_iterator(tokenizer.corpus("/usr/share/dict/words"), trainers.BpeTrainer(
            vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
            special_tokens=["<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]))
        words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        transformers.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="<|end|>",
                                             chat_template=self.TEMPLATE).save_pretrained(folder)
        torch.manual_seed(1)
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=900, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=kv_heads, max_position_embeddings=4096, tie_word_embeddings=tied, bos_token_id=0,
            eos_token_id=1, **config)
        model = getattr(transformers, f"{kind}ForCausalLM")(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:  # norms and biases, which are ones and zeros, would hide what is left out
                    weight += 0.3 * torch.randn_like(weight)
            for name, weight in model.named_parameters():
                if sharp and name.endswith(("q_proj.weight", "k_proj.weight")):
                    weight *= 10
        model.save_pretrained(folder)

    def samples(self, base, path):
        """Of the real program, where it is built."""
        root = Path(__file__).parents[2]
        program = next((p for p in (root / "build" / d / "asynclm-lab" for d in ("dev", "release")) if p.exists()), None)
        if program is None:
            self.skipTest("needs the program: ./dev build dev")
        subprocess.run([program, "dataset", "--vocab", base / "vocab.gguf", "--samples", "30", "--level", "2", "--out", path,
                        "--max-tokens", "4000"], check=True, capture_output=True)
        return program

    def finetune(self, base, run, path, steps, lora=0):
        options = {"step_tokens": 3000, "micro_tokens": 3000, "warmup": 0.003, "lr": 3e-3, "precision": "f32"}
        with contextlib.redirect_stdout(io.StringIO()):
            finetune.main(base, run, [([str(path)], 40e3)], [str(path)], options, lora, "cpu", 1, 99, 99, steps)
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        return [(r["step"], r["tokens"], r["loss"]) for r in rows if "loss" in r]

    def test_prepare_finetune_export_run(self):
        torch.set_num_threads(1)
        for kv_heads, tied in ((2, False), (4, True)):
            with self.subTest(kv_heads=kv_heads, tied=tied), tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                self.stock_folder(folder / "stock", kv_heads=kv_heads, tied=tied)
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    hf.prepare(folder / "stock", folder / "base")
                self.assertIn("5 markers added", said.getvalue())
                file = open_llama(folder / "base" / "vocab.gguf", vocab_only=True)
                for marker in tokenizer.MARKERS:
                    (token,) = file.tokenize(marker.encode(), parse_special=True)[1:]
                    self.assertTrue(file.lib.llama_vocab_is_control(file.vocab, token))
                    self.assertGreater(len(file.tokenize(marker.encode())), 2, "a spelling in data is text")
                file.close()
                program = self.samples(folder / "base", folder / "a.jsonl")
                whole = self.finetune(folder / "base", folder / "whole", folder / "a.jsonl", None)
                self.assertLess(whole[-1][2], whole[0][2] - 1)
                self.finetune(folder / "base", folder / "parts", folder / "a.jsonl", 2)
                for use in (lambda run: export.main(run, folder / "half.gguf", "f32"),
                            lambda run: parity.main(run, folder / "half.gguf", None)):
                    with self.assertRaisesRegex(SystemExit, "fine-tuning that has not ended"):
                        use(folder / "parts")
                for steps in (3, None):
                    parts = self.finetune(folder / "base", folder / "parts", folder / "a.jsonl", steps)
                self.assertEqual(whole, parts)
                out = folder / "model.gguf"
                with contextlib.redirect_stdout(io.StringIO()):
                    export.main(folder / "whole", out, "f32", "test")
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    parity.main(folder / "whole", out, 1e-3)
                self.assertIn("the same tokens", said.getvalue())
                difference, magnitude, _ = parity.compare(finetune.Model(folder / "whole" / "model"), out, 1, 100)
                self.assertGreater(magnitude, 0.1)
                self.assertLess(difference, 1e-3)
                run = subprocess.run([program, "run", "--model", out, "--ctx", "1024", "--json", "Count the lines of a."],
                                     capture_output=True, text=True)
                self.assertIn("finish_reason", run.stdout, run.stderr)

    def stand_in_for_peft(self):
        def get_peft_model(model, config):
            self.assertEqual((config.r, config.target_modules), (4, "all-linear"))
            model.requires_grad_(False)
            for name, layer in list(model.named_modules()):
                if isinstance(layer, nn.Linear) and layer is not model.get_output_embeddings():
                    model.set_submodule(name, Adapter(layer, config.r))
            model.merge_and_unload = lambda: merge(model)
            return model

        def merge(model):
            for name, layer in list(model.named_modules()):
                if isinstance(layer, Adapter):
                    layer.base.weight.data += layer.b.weight @ layer.a.weight
                    model.set_submodule(name, layer.base)
            del model.merge_and_unload
            return model

        class Adapter(nn.Module):
            def __init__(self, base, rank):
                super().__init__()
                self.base, self.a, self.b = base, nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
                nn.init.zeros_(self.b.weight)

            def forward(self, x):
                return self.base(x) + self.b(self.a(x))

        sys.modules["peft"] = SimpleNamespace(get_peft_model=get_peft_model, LoraConfig=SimpleNamespace)
        self.addCleanup(sys.modules.pop, "peft")

    def test_adapters(self):
        """That all goes through, and that the saved model is the trained one; with peft where it is there, else with a
        stand-in."""
        import transformers

        if not transformers.utils.is_peft_available():  # an answer that is kept: transformers itself will not ask for the stand-in
            self.stand_in_for_peft()
        torch.set_num_threads(1)
        for tied in (True, False):
            with self.subTest(tied=tied), tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                self.stock_folder(folder / "stock", tied=tied)
                with contextlib.redirect_stdout(io.StringIO()):
                    hf.prepare(folder / "stock", folder / "base")
                self.samples(folder / "base", folder / "a.jsonl")
                for steps in (4, None):
                    rows = self.finetune(folder / "base", folder / "run", folder / "a.jsonl", steps, lora=4)
                self.assertLess(rows[-1][2], rows[0][2] - 0.5)
                before, after = (hf.load_model(folder / at) for at in ("base", "run/model"))
                self.assertEqual([n for n, _ in before.named_parameters()], [n for n, _ in after.named_parameters()])
                marker = hf.load_tokenizer(folder / "base").convert_tokens_to_ids("[CALL]")
                for part in ("get_input_embeddings", "get_output_embeddings"):
                    rows_of = [getattr(m, part)().weight[marker].detach() for m in (before, after)]
                    self.assertGreater(float((rows_of[0] - rows_of[1]).abs().max()), 1e-3)
                norms = [m.model.norm.weight for m in (before, after)]
                self.assertTrue(torch.equal(*norms), "not adapted")
                with contextlib.redirect_stdout(io.StringIO()):
                    export.main(folder / "run", folder / "model.gguf", "f32", "test")
                    parity.main(folder / "run", folder / "model.gguf", 1e-3)
                # What was trained is what was saved.
                trained = finetune.Model(folder / "base", lora=4)
                trained.load_state_dict(checkpoint.load(folder / "run" / "checkpoint.pt")["model"])
                ids = torch.arange(5, 60)[None]
                with torch.no_grad():
                    difference = (trained(ids) - after(ids).logits).abs().max()
                self.assertLess(float(difference), 1e-4)

    def test_models_that_libllama_computes_otherwise(self):
        """A file has the logits of the folder that it was made from."""
        torch.set_num_threads(1)
        llama3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 128}
        linear = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
        for kind, config in (("Qwen2", {"tied": True, "sliding_window": 50}), ("Qwen3", {"head_dim": 16}), ("Mistral", {"sliding_window": None, "head_dim": 16}),
                             ("Llama", {"attention_bias": True}), ("Llama", {"rope_parameters": llama3}), ("Llama", {"rope_parameters": linear})):
            with self.subTest(kind=kind, **config), tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                self.stock_folder(folder / "stock", kind=kind, sharp=True, **config)
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    hf.prepare(folder / "stock", folder / "base")
                    export.main(folder / "base", folder / "model.gguf", "f32", "test")
                    parity.main(folder / "base", folder / "model.gguf", 1e-3)
                self.assertNotIn("converter", said.getvalue())
                # The check sees what would be wrong.
                if "rope_parameters" in config:
                    broken = unittest.mock.patch.object(hf, "rope_divisors", lambda _, shape: torch.ones(shape["head_dim"] // 2))
                elif kind in ("Llama", "Mistral"):
                    broken = unittest.mock.patch.object(export, "interleave", lambda weight, heads: weight)
                else:
                    broken = unittest.mock.patch.dict(hf.ARCHITECTURES, {f"{kind}ForCausalLM": replace(
                        hf.ARCHITECTURES[f"{kind}ForCausalLM"], pairs=True)})
                with broken, contextlib.redirect_stdout(io.StringIO()), self.assertRaisesRegex(SystemExit, "is over 0.01"):
                    export.main(folder / "base", folder / "model.gguf", "f32", "test")
                    parity.main(folder / "base", folder / "model.gguf", 1e-2)

    def test_what_cannot_be_used_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            with self.assertRaisesRegex(SystemExit, "not a folder with a causal"):
                hf.prepare(folder, folder / "base")
            with self.assertRaisesRegex(SystemExit, "/none: no such folder"):
                hf.prepare(folder / "none", folder / "base")
            self.stock_folder(folder / "stock")
            with self.assertRaisesRegex(SystemExit, r"lacks \[CALL\].*prepare"):
                finetune.Model(folder / "stock")
            import transformers

            linear = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
            yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
            for kind, config, why in (("Llama", {"rope_parameters": yarn}, "scaled by 'yarn'"), ("Qwen2", {"rope_parameters": linear}, "scaled by 'linear'"),
                                      ("Mistral", {"sliding_window": 100}, "a window of 100 tokens"),
                                      ("Qwen3", {"sliding_window": 100, "use_sliding_window": True, "max_window_layers": 1}, "a window of 100 tokens")):
                config = getattr(transformers, f"{kind}Config")(architectures=[f"{kind}ForCausalLM"], num_hidden_layers=2, **config)
                with self.assertRaisesRegex(SystemExit, why):
                    hf.shape_of(config, folder)
            config = unittest.mock.Mock(architectures=["OPTForCausalLM"])
            with unittest.mock.patch.object(hf, "ARCHITECTURES", {}), contextlib.redirect_stdout(io.StringIO()) as said:
                hf.prepare(folder / "stock", folder / "base")
            self.assertIn("llama.cpp's converter", said.getvalue())
            with self.assertRaisesRegex(SystemExit, "OPTForCausalLM; .*converter"):
                hf.shape_of(config, folder)


if __name__ == "__main__":
    unittest.main()
