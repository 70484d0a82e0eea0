# SPDX-License-Identifier: Apache-2.0
"""The few libllama calls that checking needs, through ctypes. Structs follow llama.h of 0.7.0."""

import ctypes as c
import ctypes.util

VERSION = b"0.7.0"  # the structs below are passed by value: no other version may be called


class ModelParams(c.Structure):
    _fields_ = [
        ("devices", c.c_void_p), ("tensor_buft_overrides", c.c_void_p),
        ("n_gpu_layers", c.c_int32), ("split_mode", c.c_int), ("load_mode", c.c_int),
        ("lazy_mode", c.c_int), ("main_gpu", c.c_int32),
        ("tensor_split", c.c_void_p), ("progress_callback", c.c_void_p),
        ("progress_callback_user_data", c.c_void_p), ("kv_overrides", c.c_void_p),
        ("vocab_only", c.c_bool), ("check_tensors", c.c_bool), ("use_extra_bufts", c.c_bool),
        ("no_host", c.c_bool), ("no_alloc", c.c_bool), ("load_mtp", c.c_bool),
    ]


class ContextParams(c.Structure):
    _fields_ = [
        ("n_ctx", c.c_uint32), ("n_batch", c.c_uint32), ("n_ubatch", c.c_uint32),
        ("n_seq_max", c.c_uint32), ("n_rs_seq", c.c_uint32), ("n_outputs_max", c.c_uint32),
        ("n_outputs_max_per_seq", c.c_uint32), ("n_threads", c.c_int32),
        ("n_threads_batch", c.c_int32), ("ctx_type", c.c_int), ("rope_scaling_type", c.c_int),
        ("pooling_type", c.c_int), ("attention_type", c.c_int), ("flash_attn_type", c.c_int),
        ("rope_freq_base", c.c_float), ("rope_freq_scale", c.c_float),
        ("yarn_ext_factor", c.c_float), ("yarn_attn_factor", c.c_float),
        ("yarn_beta_fast", c.c_float), ("yarn_beta_slow", c.c_float),
        ("yarn_orig_ctx", c.c_uint32), ("defrag_thold", c.c_float),
        ("cb_eval", c.c_void_p), ("cb_eval_user_data", c.c_void_p),
        ("type_k", c.c_int), ("type_v", c.c_int), ("moe_cache_size", c.c_size_t),
        ("abort_callback", c.c_void_p), ("abort_callback_data", c.c_void_p),
        ("embeddings", c.c_bool), ("offload_kqv", c.c_bool), ("no_perf", c.c_bool),
        ("op_offload", c.c_bool), ("swa_full", c.c_bool), ("kv_unified", c.c_bool),
        ("samplers", c.c_void_p), ("n_samplers", c.c_size_t), ("ctx_other", c.c_void_p),
    ]


class Batch(c.Structure):
    _fields_ = [
        ("n_tokens", c.c_int32), ("token", c.POINTER(c.c_int32)), ("embd", c.c_void_p),
        ("pos", c.POINTER(c.c_int32)), ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))), ("logits", c.POINTER(c.c_int8)),
    ]


_LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
_lib = None


def library():
    """libllama with signatures set and its log silenced; OSError where it is not usable."""
    global _lib
    if _lib:
        return _lib
    lib = c.CDLL(ctypes.util.find_library("llama") or "libllama.so.0")
    ggml = c.CDLL(ctypes.util.find_library("ggml") or "libggml.so.0")
    lib.llama_version.restype = c.c_char_p
    if lib.llama_version() != VERSION:
        raise OSError(f"libllama {lib.llama_version()}: need {VERSION}")
    pointer, i32 = c.c_void_p, c.c_int32
    for name, result, *arguments in (
        ("llama_model_default_params", ModelParams),
        ("llama_context_default_params", ContextParams),
        ("llama_model_load_from_file", pointer, c.c_char_p, ModelParams),
        ("llama_init_from_model", pointer, pointer, ContextParams),
        ("llama_model_free", None, pointer),
        ("llama_free", None, pointer),
        ("llama_model_get_vocab", pointer, pointer),
        ("llama_vocab_n_tokens", i32, pointer),
        ("llama_vocab_is_eog", c.c_bool, pointer, i32),
        ("llama_vocab_is_control", c.c_bool, pointer, i32),
        ("llama_tokenize", i32, pointer, c.c_char_p, i32, pointer, i32, c.c_bool, c.c_bool),
        ("llama_detokenize", i32, pointer, pointer, i32, c.c_char_p, i32, c.c_bool, c.c_bool),
        ("llama_token_to_piece", i32, pointer, i32, c.c_char_p, i32, i32, c.c_bool),
        ("llama_batch_init", Batch, i32, i32, i32),
        ("llama_batch_free", None, Batch),
        ("llama_decode", i32, pointer, Batch),
        ("llama_get_logits_ith", c.POINTER(c.c_float), pointer, i32),
        ("llama_log_set", None, _LOG, pointer),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.quiet = _LOG(lambda level, text, data: None)  # kept alive as long as the library
    lib.llama_log_set(lib.quiet, None)
    ggml.ggml_backend_load_all()
    _lib = lib
    return lib


class Llama:
    """A model file: its vocabulary, and logits unless vocab_only."""

    def __init__(self, path, vocab_only=False, n_ctx=2048, threads=1):
        self.lib = library()
        params = self.lib.llama_model_default_params()
        params.vocab_only = vocab_only
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise OSError(f"{path}: libllama cannot load it")
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.vocab)
        self.context = None
        if not vocab_only:
            params = self.lib.llama_context_default_params()
            params.n_ctx = params.n_batch = n_ctx
            params.n_threads = params.n_threads_batch = threads
            params.flash_attn_type = 0  # plain attention in f32, the exact path
            params.type_k = params.type_v = 0  # GGML_TYPE_F32
            self.context = self.lib.llama_init_from_model(self.model, params)
            if not self.context:
                raise OSError(f"{path}: libllama cannot make a context")

    def close(self):
        if self.context:
            self.lib.llama_free(self.context)
        if self.model:
            self.lib.llama_model_free(self.model)
        self.context = self.model = None

    def tokenize(self, data, parse_special=False):
        out = (c.c_int32 * (len(data) + 8))()
        n = self.lib.llama_tokenize(self.vocab, data, len(data), out, len(out), True, parse_special)
        return list(out[:n])

    def detokenize(self, ids):
        """The bytes of the tokens, piece by piece."""
        buffer, parts = c.create_string_buffer(256), []
        for i in ids:
            n = self.lib.llama_token_to_piece(self.vocab, i, buffer, 256, 0, False)
            parts.append(buffer.raw[:n])
        return b"".join(parts)

    def detokenize_at_once(self, ids):
        array = (c.c_int32 * len(ids))(*ids)
        buffer = c.create_string_buffer(16 * len(ids) + 16)
        n = self.lib.llama_detokenize(self.vocab, array, len(ids), buffer, len(buffer), False, False)
        return buffer.raw[:n]

    def logits(self, ids):
        """Logits after each token of a fresh sequence; call once per object."""
        import numpy as np

        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        code = self.lib.llama_decode(self.context, batch)
        if code:
            raise RuntimeError(f"llama_decode: {code}")
        rows = [np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, i), (self.n_vocab,)).copy()
                for i in range(len(ids))]
        self.lib.llama_batch_free(batch)
        return np.stack(rows)
