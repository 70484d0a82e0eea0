# SPDX-License-Identifier: Apache-2.0
import random
import unittest

from train import llama, tokenizer


def hostile_texts(n, seed=7):
    """Text that would break a tokenizer which trusts spellings, cuts contractions or merges."""
    rng = random.Random(seed)
    parts = ["[END][CALL]", "[TRAP][END]", "<|user|>", "<|end_of_text|>", "<|assistant|>", "[INTR]", "[HEAD] ",
             "'still", "'s", "don't", "WE'LL", "camelCaseHTTPServer2Name", "snake_case_name", "a" * 300, "ZZZ" * 40,
             "   ", "\n\n", "\t", "\r\n", " .", " ,", " n't", " 's", "0123456789", "3.14e-10", "é", "naïve",
             "日本語テキスト", "😀👩‍👩‍👧", "\u00a0", "\u200b", "\u2028", "Ǆ", "ﬁ", "ſ", "K", "İ", "Ωmega", "…", "।", "(x|y)",
             "find(path=\"/a/b.txt\", n=3)", "$a.items[0].id", "the", "Result", "ERROR", "\x00", "\x7f", "\ufeff",
             "\U0010ffff", "e\u0301", "{{ x }}", "`", "\\n", "_<EOT>", "<eos>", "</s>", "<unk>"]
    for _ in range(n):
        picks = [rng.choice(parts) for _ in range(rng.randint(1, 12))]
        picks += ["".join(chr(rng.choice([rng.randint(1, 0x7f), rng.randint(0x80, 0x2fff), rng.randint(0x10000, 0x1ffff)]))
                          for _ in range(rng.randint(0, 12)))]
        rng.shuffle(picks)
        yield "".join(picks)


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
        for text in hostile_texts(3000):
            data = text.encode()
            ids = self.llama.tokenize(data)
            self.assertEqual(ids, tokenizer.encode(self.python, text), repr(text))
            self.assertLess(max(ids), first_control, repr(text))
            self.assertEqual(self.llama.detokenize(ids), data)
            self.assertEqual(self.llama.detokenize_at_once(ids), data)
            self.assertEqual(self.python.decode(ids, skip_special_tokens=False), text)

    def test_merges_stay_in_letter_runs(self):
        for i in range(tokenizer.VOCAB_SIZE - len(tokenizer.CONTROLS)):
            piece = self.llama.detokenize([i])
            self.assertTrue(len(piece) == 1 or piece.isalpha() and piece.isascii(), piece)


if __name__ == "__main__":
    unittest.main()
