# SPDX-License-Identifier: Apache-2.0
"""A checkpoint to a GGUF model file with its tokenizer, chat template and protocol keys."""

from pathlib import Path

import gguf
import torch

from . import checkpoint, tokenizer
from .model import Config, Model

TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}


def load_model(run):
    """RUN folder, checkpoint file or GGUF file of write() to a Model."""
    path = Path(run)
    if path.suffix == ".gguf":
        return read(path).eval()
    path = path / "checkpoint.pt" if path.is_dir() else path
    state = checkpoint.load(path)
    if "folder" in state["config"]:
        raise SystemExit(f"{path}: of a fine-tuning that has not ended; 'finetune' with the same arguments ends it")
    model = Model(Config(**state["config"]))
    model.load_state_dict(state["model"])
    return model.eval()


def interleave(weight, heads):
    """Rows of q or k, or their biases, from rotated halves to the neighbouring pairs that libllama rotates."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).transpose(1, 2).reshape(weight.shape)


def rotated_halves(weight, heads):
    """The inverse of interleave()."""
    return weight.reshape(heads, len(weight) // heads // 2, 2, -1).transpose(1, 2).reshape(weight.shape)


# Of a pair that is not rotated: libllama divides the pair's frequency by it.
NOT_ROTATED = 1e30


def gguf_name(name):
    """'attn_q_bias' to 'attn_q.bias', 'attn_q' to 'attn_q.weight'."""
    return name.removesuffix("_bias") + ".bias" if name.endswith("_bias") else name + ".weight"


def heads_of(name, config):
    """Heads whose rows rotate; 0: none do."""
    return {"attn_q": config.heads, "attn_k": config.kv_heads}.get(name.removesuffix("_bias").rpartition(".")[2], 0)


def tensors(model):
    c = model.config
    yield "token_embd.weight", model.token_embd
    yield "output_norm.weight", model.output_norm
    yield "rope_freqs.weight", torch.where(c.frequencies() > 0, 1.0, NOT_ROTATED)
    for i, block in enumerate(model.blk):
        for name, weight in block.named_parameters():
            heads = heads_of(name, c)
            yield f"blk.{i}.{gguf_name(name)}", interleave(weight, heads) if heads else weight


def write(model, out, kind="f16", name="asynclm", directory=tokenizer.SHIPPED):
    c = model.config
    words = tokenizer.load(directory)
    if words.get_vocab_size() != c.vocab:
        raise SystemExit(f"{directory}: {words.get_vocab_size()} tokens, the model has {c.vocab}")

    def metadata(writer):
        writer.add_license("apache-2.0")
        add_shape(writer, {**c.to_dict(), "head_dim": c.head_dim})
        tokenizer.write_metadata(writer, words)

    write_file(out, kind, name, metadata, tensors(model))


def add_shape(writer, shape):
    """Keys of the shape as Config names them, and head_dim."""
    writer.add_vocab_size(shape["vocab"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["dim"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ffn"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_key_length(shape["head_dim"])
    writer.add_value_length(shape["head_dim"])
    writer.add_layer_norm_rms_eps(shape["eps"])
    writer.add_rope_dimension_count(shape["head_dim"])
    writer.add_rope_freq_base(shape["rope_base"])


def write_file(out, kind, name, metadata, tensors, architecture="llama"):
    """Replaces `out` in one piece; `metadata` adds to the writer what is not of the file itself."""
    quantization, file_type = TYPES[kind]
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    writer = gguf.GGUFWriter(str(partial), architecture)
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    metadata(writer)
    for tensor_name, weight in tensors:
        array = weight.detach().float().contiguous().numpy()
        used = gguf.GGMLQuantizationType.F32 if array.ndim == 1 else quantization
        writer.add_tensor(tensor_name, gguf.quants.quantize(array, used), raw_dtype=used)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def read(path):
    """The weights of a GGUF file that write() made, to the precision they have there."""
    try:
        file = gguf.GGUFReader(path)
        field = lambda key: file.fields[f"llama.{key}"].contents()
        weights = {t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy()) for t in file.tensors}
        vocab, dim = weights["token_embd.weight"].shape
        # The default model's versions before 5 had neither these nor biases.
        rotated = 1.0
        if "rope_freqs.weight" in weights:
            rotated = float((weights["rope_freqs.weight"] < NOT_ROTATED / 2).float().mean())
        config = Config(dim, field("block_count"), field("attention.head_count"), field("attention.head_count_kv"),
                        field("feed_forward_length"), vocab, field("context_length"), field("rope.freq_base"), rotated,
                        round(field("attention.layer_norm_rms_epsilon"), 9))  # stored as float32
        model = Model(config)
        state = {}
        for name in model.state_dict():
            weight, heads = weights.get(gguf_name(name)), heads_of(name, config)
            if weight is None and name.endswith("_bias"):
                weight = torch.zeros_like(model.state_dict()[name])
            state[name] = rotated_halves(weight, heads) if heads else weight
        model.load_state_dict(state)
        return model
    except (KeyError, ValueError, RuntimeError) as error:
        raise SystemExit(f"{path}: not a model that this trainer exported ({error})") from error


def hugging_face_folder(run):
    """The model that a fine-tuning left, or None: RUN is a pretraining's."""
    return next((f for f in (Path(run) / "model", Path(run)) if (f / "config.json").exists()), None)


def main(run, out, kind, name=None):
    folder = hugging_face_folder(run)
    if not name:
        path = Path(run).resolve()
        name = (path if path.is_dir() and path.name != "model" else path.parent).name
    if folder:
        from . import hf  # slow to import

        hf.write(folder, out, kind, name)
    else:
        write(load_model(run), out, kind, name)
    print(f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB, {kind}")
