# SPDX-License-Identifier: Apache-2.0
"""Models of others: a folder in Hugging Face's format, its tokenizer and its GGUF file."""

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from . import export, llama, tokenizer


@dataclass(frozen=True)
class Architecture:
    """What libllama calls it and does there."""

    gguf: gguf.MODEL_ARCH
    pairs: bool  # it rotates neighbouring pairs, not halves
    divisors: bool  # it reads what each frequency is divided by


LLAMA = Architecture(gguf.MODEL_ARCH.LLAMA, pairs=True, divisors=True)
ARCHITECTURES = {"LlamaForCausalLM": LLAMA, "MistralForCausalLM": LLAMA,
                 "Qwen2ForCausalLM": Architecture(gguf.MODEL_ARCH.QWEN2, pairs=False, divisors=False),
                 "Qwen3ForCausalLM": Architecture(gguf.MODEL_ARCH.QWEN3, pairs=False, divisors=False)}

# Ways of scaling positions that are one divisor for each frequency, whatever the length.
DIVIDING = ("linear", "llama3")

# What each marker is to begin as: the mean of these words' embeddings.
MEANINGS = {"[CALL]": " call function", "[INTR]": " interrupt result", "[TRAP]": " wait pause",
            "[END]": " end stop", "[HEAD]": " header :"}

# Cut by one of these before merging (byte-level BPE). libllama knows no other way; which one is a
# tokenizer's own is tried out, since no file of it says.
PRE_TOKENIZERS = ("llama-bpe", "qwen2", "gpt-2", "tekken", "smollm", "default", "deepseek-llm", "starcoder",
                  "falcon", "refact", "command-r", "stablelm2", "gpt-4o", tokenizer.PRE_TOKENIZER)

SAMPLES = ("Hello, world! It's 3.14159, isn't it?", "count the lines of src/session/session.cc, then stop.",
           "getURLFromHTTPResponse(x=\"a b\", y=[1, 22, 333, 4444, 1234567890])", "  two  spaces\tand\n\nlines\n ",
           "naïve café, Ünïcödé, 日本語, эта строка, 🙂👍🏽", "{\"a\": {\"b\": [null, true, -1e-5]}}", "I'LL we've THEY'RE",
           "a_b__c-d--e/f.g,h;i:j|k\\l", "x" * 40 + " " * 9 + "end", "[CALL]x[HEAD]f()[END]", "…‘quotes’ “double” — dash")


transformers.utils.logging.disable_progress_bar()


def check_folder(folder):
    if not Path(folder).is_dir():  # transformers would take it for a name on its hub
        raise SystemExit(f"{folder}: no such folder")


def load_tokenizer(folder):
    check_folder(folder)
    try:
        words = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{folder}: not a model folder with a tokenizer: {error}") from error
    if not words.is_fast:
        raise SystemExit(f"{folder}: its tokenizer is not of the 'tokenizers' library (no tokenizer.json)")
    return words


def load_model(folder):
    check_folder(folder)
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{folder}: not a folder with a causal language model: {error}") from error


def add_markers(model, words):
    """Markers as special tokens; the rows of new ones are the mean of words that say what they are for."""
    missing = [m for m in tokenizer.MARKERS if m not in words.get_vocab()]
    meanings = {m: words(MEANINGS[m], add_special_tokens=False).input_ids for m in missing}
    added = [transformers.AddedToken(m, special=True, normalized=False) for m in tokenizer.MARKERS]
    words.add_tokens(added, special_tokens=True)
    if len(words) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(words), mean_resizing=False)
    with torch.no_grad():
        rows = {id(m.weight): m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings())}
        for weight in rows.values():
            means = {m: weight[ids].mean(0) for m, ids in meanings.items()}
            for marker, mean in means.items():
                weight[words.convert_tokens_to_ids(marker)] = mean


def parts_of(spec, key):
    """The types of a tokenizer's pre-tokenizer, normalizer or decoder, nested ones too."""
    part = spec.get(key)
    if not part:
        return {}
    nested = [p for name in ("pretokenizers", "normalizers", "decoders") for p in part.get(name, [])]
    return {p["type"]: p for p in [part, *nested]}


class Vocabulary:
    """A tokenizer as libllama reads it."""

    def __init__(self, words, size):
        self.words, self.size = words, size
        spec = json.loads(words.backend_tokenizer.to_str())
        model = spec["model"]
        if model["type"] != "BPE":
            raise SystemExit(f"the tokenizer is a {model['type']}; only byte-pair encodings can be written to GGUF here")
        self.merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        self.byte_level = "ByteLevel" in {**parts_of(spec, "pre_tokenizer"), **parts_of(spec, "decoder")}
        self.special = {t["id"]: t["special"] for t in spec["added_tokens"]}
        self.add_bos = words("a").input_ids[:1] == [words.bos_token_id] and words.bos_token_id is not None
        self.unknown = words.unk_token_id

    def write(self, writer, pre, space_prefix):
        rank = {m.replace(" ", ""): i for i, m in enumerate(self.merges)}
        tokens, types, scores = [], [], []
        for i in range(self.size):
            token = self.words.convert_ids_to_tokens(i) if i < len(self.words) else None
            kind = gguf.TokenType.NORMAL
            if token is None:
                token, kind = f"[PAD{i}]", gguf.TokenType.UNUSED
            elif i in self.special:
                kind = gguf.TokenType.CONTROL if self.special[i] else gguf.TokenType.USER_DEFINED
            elif not self.byte_level and token.startswith("<0x") and len(token) == 6:
                kind = gguf.TokenType.BYTE
            elif not self.byte_level and i == self.unknown:
                kind = gguf.TokenType.UNKNOWN
            tokens.append(token)
            types.append(kind)
            scores.append(-float(rank.get(token, 0)))
        writer.add_tokenizer_model("gpt2" if self.byte_level else "llama")
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        if self.byte_level:
            writer.add_tokenizer_pre(pre)
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(scores)
        writer.add_add_space_prefix(space_prefix)
        for name in ("bos", "eos", "pad", "unk"):
            number = getattr(self.words, f"{name}_token_id")
            if number is not None:
                getattr(writer, f"add_{name}_token_id")(number)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(False)
        writer.add_chat_template(self.words.chat_template)
        writer.add_uint32("asynclm.cml.version", tokenizer.CML_VERSION)
        writer.add_string("asynclm.cml.language", tokenizer.CML_LANGUAGE)

    def encode(self, text):
        backend = self.words.backend_tokenizer
        backend.encode_special_tokens = True  # the spelling of a marker in data is text
        try:
            return backend.encode(text, add_special_tokens=False).ids
        finally:
            backend.encode_special_tokens = False

    def cut_otherwise(self, path):
        """The samples of which libllama makes other tokens with this GGUF file."""
        file = llama.Llama(path, vocab_only=True)
        start = 1 if self.add_bos else 0
        wrong = [text for text in SAMPLES if file.tokenize(text.encode())[start:] != self.encode(text)]
        file.close()
        return wrong

    def check(self, path):
        wrong = self.cut_otherwise(path)
        if wrong:
            raise SystemExit(f"{path}: libllama makes other tokens of {len(wrong)} of {len(SAMPLES)} samples, "
                             f"among them {wrong[0]!r}")
        print(f"{path}: the same tokens for {len(SAMPLES)} samples")

    def write_file(self, path):
        """A GGUF file without tensors, in whose way of cutting libllama makes the same tokens; returns (pre, prefix)."""
        ways = [(pre, False) for pre in PRE_TOKENIZERS] if self.byte_level else [("", True), ("", False)]
        worst = None
        for pre, prefix in ways:
            writer = gguf.GGUFWriter(str(path), "llama")
            export.add_shape(writer, {"vocab": self.size, "context": 2048, "dim": 64, "layers": 1, "ffn": 64, "heads": 2,
                                      "kv_heads": 2, "eps": 1e-5, "head_dim": 32, "rope_base": 1e4})
            self.write(writer, pre, prefix)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.close()
            wrong = self.cut_otherwise(path)
            if not wrong:
                return pre, prefix
            worst = min(worst or wrong, wrong, key=len)
        Path(path).unlink()
        raise SystemExit(f"libllama cuts text in another way than this tokenizer, whichever of its ways is named; "
                         f"nearest with {len(worst)} of {len(SAMPLES)} samples wrong, among them {worst[0]!r}")


def why_not_written(config, architecture):
    """What of a model this cannot write as GGUF, or None."""
    if architecture not in ARCHITECTURES:
        return f"a {architecture}; 'export' writes GGUF files of {', '.join(ARCHITECTURES)} only"
    kind = config.rope_parameters["rope_type"]
    if kind != "default" and not (kind in DIVIDING and ARCHITECTURES[architecture].divisors):
        return f"positions are scaled by '{kind}', which 'export' does not write"
    window = config.sliding_window if slides(config) else None
    if window is not None and window < config.max_position_embeddings:
        return f"attention has a window of {window} tokens, which 'export' does not write"
    return None


def slides(config):
    """Whether any layer attends to a window only. Qwen's say it of each layer."""
    types = getattr(config, "layer_types", None)
    return any(t != "full_attention" for t in types) if types else getattr(config, "sliding_window", None) is not None


def shape_of(config, folder):
    why = why_not_written(config, config.architectures[0])
    if why:
        raise SystemExit(f"{folder}: {why}. The folder is whole: llama.cpp's converter may write the file")
    heads = config.num_attention_heads
    return {"vocab": config.vocab_size, "context": config.max_position_embeddings, "dim": config.hidden_size,
            "layers": config.num_hidden_layers, "ffn": config.intermediate_size, "heads": heads,
            "kv_heads": config.num_key_value_heads, "eps": config.rms_norm_eps,
            "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
            "rope_base": config.rope_parameters["rope_theta"]}


def rope_divisors(config, shape):
    """What each pair's frequency is divided by, [head_dim / 2]."""
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, device="cpu")
    assert magnitude == 1
    plain = shape["rope_base"] ** -(torch.arange(0, shape["head_dim"], 2, dtype=torch.float64) / shape["head_dim"])
    return (plain / frequencies.double()).float()


def tensors(model, shape, architecture):
    names = gguf.get_tensor_name_map(architecture.gguf, shape["layers"])
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    if model.config.rope_parameters["rope_type"] in DIVIDING:
        yield "rope_freqs.weight", rope_divisors(model.config, shape)
    for name, weight in model.state_dict().items():
        if tied and name == "lm_head.weight" or name.endswith("rotary_emb.inv_freq"):
            continue
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise SystemExit(f"GGUF has no name for the tensor {name}")
        rotated = {"q_proj": "heads", "k_proj": "kv_heads"}.get(name.split(".")[-2])
        if rotated and architecture.pairs:
            weight = export.interleave(weight, shape[rotated])
        yield theirs, weight


def write(folder, out, kind, name):
    """The folder's model and tokenizer as a GGUF file."""
    model, words = load_model(folder), load_tokenizer(folder)
    shape = shape_of(model.config, folder)
    vocabulary = Vocabulary(words, shape["vocab"])
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    trial = out.with_name(out.name + ".trial")
    way = vocabulary.write_file(trial)
    trial.unlink()

    def metadata(writer):
        export.add_shape(writer, shape)
        vocabulary.write(writer, *way)

    architecture = ARCHITECTURES[model.config.architectures[0]]
    export.write_file(out, kind, name, metadata, tensors(model, shape, architecture), gguf.MODEL_ARCH_NAMES[architecture.gguf])


def prepare(folder, out):
    """Copies a model into `out` with the markers added, and writes out/vocab.gguf, for `asynclm-lab dataset --vocab`."""
    model, words = load_model(folder), load_tokenizer(folder)
    if not words.chat_template:
        raise SystemExit(f"{folder}: the tokenizer has no chat template; set chat_template in tokenizer_config.json")
    if words.eos_token_id is None:
        raise SystemExit(f"{folder}: the tokenizer has no end-of-text token; set eos_token in tokenizer_config.json")
    why = why_not_written(model.config, type(model).__name__)
    if why:
        print(f"{folder}: {why}; after 'finetune', RUN/model has to be written by llama.cpp's converter")
    before = len(words)
    add_markers(model, words)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    Vocabulary(words, model.config.vocab_size).write_file(out / "vocab.gguf")
    model.save_pretrained(out)
    words.save_pretrained(out)
    print(f"{out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(words) - before} markers added; "
          f"data for it: asynclm-lab dataset --vocab {out / 'vocab.gguf'}")
