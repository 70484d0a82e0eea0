# SPDX-License-Identifier: Apache-2.0
"""A byte-level BPE of exactly 2048 entries whose merges never leave a run of ASCII letters.

Spaces, punctuation, digits and non-ASCII bytes stay single-byte tokens, so a word copied from one
place to another is the same tokens in both: the copying that call arguments need stays trivial for
a small model. Control tokens close the vocabulary and are never produced from text.
"""

import json
import random
from pathlib import Path

import gguf
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB_SIZE = 2048
MARKERS = ["[CALL]", "[INTR]", "[TRAP]", "[END]", "[HEAD]"]
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]
END_OF_TEXT = "<|end_of_text|>"
CONTROLS = MARKERS + ROLES + [END_OF_TEXT]

CML_VERSION = 1
CML_LANGUAGE = "python"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}"
    "{%- if message.role == 'assistant' -%}<|end_of_text|>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)

# libllama cuts text with the regex of a named pre-tokenizer before merging. This one
# (` ?[^(\s|.,!?…。，、।۔،)]+`) never cuts inside a run of letters; the gpt-2, default, llama-3 and
# tekken ones do (contractions, camelCase). It also leaves detokenised spaces alone.
PRE_TOKENIZER = "poro-chat"

SHIPPED = Path(__file__).parent / "tokenizer"


def corpus(words_file, seed=1):
    """Words in the shares that prompts and calls use them; frequent words repeat."""
    words = Path(words_file).read_text(encoding="utf-8").split()
    words = [w for w in words if w.isascii() and w.isalpha() and w.islower() and 3 <= len(w) <= 10]
    if len(words) < 1000:
        raise SystemExit(f"{words_file}: only {len(words)} plain words; install a word list (wamerican)")
    glue = (Path(__file__).parent / "glue.txt").read_text(encoding="utf-8")
    glue = sorted(set(glue.split()))
    rng = random.Random(seed)
    for word in words:
        yield word
        if rng.random() < 0.15:
            yield word.capitalize()
        if rng.random() < 0.05:
            yield word.upper()
    for word in glue:
        for _ in range(150):
            yield word
        for _ in range(15):
            yield word.capitalize()
        for _ in range(3):
            yield word.upper()


def build(words_file):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex("[A-Za-z]+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(CONTROLS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(words_file), trainer)
    tokenizer.add_special_tokens(CONTROLS)
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"{words_file}: gave {tokenizer.get_vocab_size()} tokens, not {VOCAB_SIZE}")
    return tokenizer


def load(directory=SHIPPED):
    """The tokenizer that treats marker spellings in text as plain characters."""
    tokenizer = Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def control_id(tokenizer, name):
    return tokenizer.token_to_id(name)


def write_metadata(writer, tokenizer):
    """Adds the vocabulary, chat template and protocol keys to a GGUFWriter."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in merges]
    size = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(size)]
    controls = {tokenizer.token_to_id(name) for name in CONTROLS}
    types = [gguf.TokenType.CONTROL if i in controls else gguf.TokenType.NORMAL for i in range(size)]
    end = tokenizer.token_to_id(END_OF_TEXT)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    writer.add_uint32("asynclm.cml.version", CML_VERSION)
    writer.add_string("asynclm.cml.language", CML_LANGUAGE)


def write_vocab(tokenizer, path):
    """A GGUF without tensors: load it with vocab_only."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("asynclm tokenizer")
    writer.add_vocab_size(tokenizer.get_vocab_size())
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    write_metadata(writer, tokenizer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main(words_file, out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build(words_file)
    tokenizer.save(str(out / "tokenizer.json"))
    write_vocab(tokenizer, out / "vocab.gguf")
    print(f"{out}/tokenizer.json, {out}/vocab.gguf: {tokenizer.get_vocab_size()} tokens")
