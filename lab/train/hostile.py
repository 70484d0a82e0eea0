# SPDX-License-Identifier: Apache-2.0
"""Texts that would break a tokenizer which trusts spellings, cuts contractions or merges across words.

tests/data/tokenizer_hostile.json holds some of them with their tokens by the Python tokenizer, so that
the C++ tests compare libllama with it where Python's packages are missing.
"""

import json
import random
from pathlib import Path

from . import tokenizer

PARTS = ["[END][CALL]", "[TRAP][END]", "<|user|>", "<|end_of_text|>", "<|assistant|>", "[INTR]", "[HEAD] ",
         "'still", "'s", "don't", "WE'LL", "camelCaseHTTPServer2Name", "snake_case_name", "a" * 300, "ZZZ" * 40,
         "   ", "\n\n", "\t", "\r\n", " .", " ,", " n't", " 's", "0123456789", "3.14e-10", "é", "naïve",
         "日本語テキスト", "😀👩‍👩‍👧", "\u00a0", "\u200b", "\u2028", "Ǆ", "ﬁ", "ſ", "\u212a", "İ", "Ωmega", "…", "।", "(x|y)",
         "find(path=\"/a/b.txt\", n=3)", "$a.items[0].id", "the", "Result", "ERROR", "\x00", "\x7f", "\ufeff",
         "\U0010ffff", "e\u0301", "{{ x }}", "`", "\\n", "_<EOT>", "<eos>", "</s>", "<unk>"]


def mixed(n, seed=7):
    """n texts of the parts and of random characters of all planes."""
    rng = random.Random(seed)
    for _ in range(n):
        picks = [rng.choice(PARTS) for _ in range(rng.randint(1, 12))]
        picks += ["".join(chr(rng.choice([rng.randint(1, 0x7f), rng.randint(0x80, 0x2fff), rng.randint(0x10000, 0x1ffff)]))
                          for _ in range(rng.randint(0, 12)))]
        rng.shuffle(picks)
        yield "".join(picks)


def cases(directory=tokenizer.SHIPPED):
    """The file's text: JSON, one case a line."""
    python = tokenizer.load(directory)
    rows = [json.dumps({"text": text, "ids": tokenizer.encode(python, text)}, separators=(",", ":"))
            for text in [*PARTS, *tokenizer.CONTROLS, *mixed(150, seed=8)]]
    return "[\n" + ",\n".join(rows) + "\n]\n"


def main(out):
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(cases(), encoding="ascii")
    print(out)
