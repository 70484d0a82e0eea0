# SPDX-License-Identifier: Apache-2.0
"""The llama architecture in plain torch, arranged for training on few CPU cores.

RoPE rotates halves here (contiguous, fast); export permutes q and k to libllama's interleaved form.

Two things let copying, which is most of what a call needs, emerge after 0.4 million tokens instead of 2 (README.md):
half of a head's dimensions are not rotated, so that it can compare tokens however far apart they are; and training
begins with heads that look a few tokens back (layer 0) and at what followed the same token before (layer 1).
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    dim: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 6
    ffn: int = 512
    vocab: int = 2048
    context: int = 4096
    rope_base: float = 1e6
    rotated: float = 0.5  # share of a head's dimensions that know positions: those of the highest frequencies
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.heads

    @property
    def rotated_pairs(self):
        return round(self.head_dim // 2 * self.rotated)

    def frequencies(self):
        """Of a head's pairs of dimensions, radians a token; 0: not rotated."""
        half = self.head_dim // 2
        all = self.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
        return all * (torch.arange(half) < self.rotated_pairs)

    def to_dict(self):
        return asdict(self)


CONFIGS = {
    "tiny": Config(dim=64, layers=2, heads=2, kv_heads=1, ffn=128),  # for tests
    "nano": Config(),
    "nano4": Config(rotated=1.0, rope_base=1e4),  # the default model's versions 1 to 6
    "nano64": Config(heads=3, kv_heads=3),
    "micro": Config(dim=256, layers=8, heads=8, kv_heads=8, ffn=704),
    "mini": Config(dim=512, layers=10, heads=8, kv_heads=8, ffn=1408, context=8192),  # for a GPU
}


class AttentionBf16(torch.autograd.Function):
    """Causal attention of [batch * head, length, dim] in bf16, ROWS queries at a time, each with the keys up to its
    last: half of the products and of softmax are not computed at all. Half to two thirds of the time of plain products
    on a CPU; PyTorch's fused kernel takes 1.3 to 1.8 times the time of this in f32, and its backward pass in bf16 25
    times."""

    ROWS = 256

    @staticmethod
    def forward(ctx, q, k, v):
        length, rows = q.shape[1], AttentionBf16.ROWS
        later = torch.full((rows, rows), -math.inf, dtype=q.dtype, device=q.device).triu(1)
        out, weights = torch.empty_like(q), []
        for begin in range(0, length, rows):
            end = min(begin + rows, length)
            scores = q[:, begin:end] @ k[:, :end].transpose(1, 2)
            scores[:, :, begin:] += later[:end - begin, :end - begin]
            weights.append(scores.softmax(-1))
            out[:, begin:end] = weights[-1] @ v[:, :end]
        ctx.save_for_backward(q, k, v, *weights)
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, *weights = ctx.saved_tensors
        grad, q_grad = grad.contiguous(), torch.empty_like(q)
        k_grad, v_grad = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        for begin, weight in zip(range(0, q.shape[1], AttentionBf16.ROWS), weights):
            end = begin + weight.shape[1]
            rows = grad[:, begin:end]
            v_grad[:, :end] += weight.transpose(1, 2) @ rows
            scores = torch.ops.aten._softmax_backward_data(rows @ v[:, :end].transpose(1, 2), weight, -1, weight.dtype)
            q_grad[:, begin:end] = scores @ k[:, :end]
            k_grad[:, :end] += scores.transpose(1, 2) @ q[:, begin:end]
        return q_grad, k_grad.to(k.dtype), v_grad.to(v.dtype)


def attention_bf16(q, k, v):
    """[batch, head, length, dim], f32 in and out."""
    length, dim = q.shape[-2:]
    flat = (x.bfloat16().reshape(-1, length, dim) for x in (q * dim ** -0.5, k, v))
    return AttentionBf16.apply(*flat).view(q.shape).float()


class LinearBf16(torch.autograd.Function):
    """F.linear without bias: products of bf16, what goes in and out is f32. On CPUs that multiply bf16 by AVX-512
    PyTorch does not do so by itself, as it does with AMX (set_float32_matmul_precision)."""

    @staticmethod
    def forward(ctx, x, weight):
        flat, weight = x.reshape(-1, x.shape[-1]).bfloat16(), weight.bfloat16()
        ctx.save_for_backward(flat, weight)
        ctx.shape = x.shape
        return (flat @ weight.t()).float().view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, grad):
        flat, weight = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1]).bfloat16()
        return (grad @ weight).float().view(ctx.shape), (grad.t() @ flat).float()


EMBEDDING_STD = 0.02  # what a head writes is of this size too, so that neither drowns the other
SHARPNESS = 10.0  # of a head that looks a fixed number of tokens back: 99.99 % of its attention is there
MATCH = 1.9  # of a head that looks for equal tokens: about 40 % of its attention is on them


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        c, self.config = config, config
        self.bf16 = False
        self.linear = F.linear
        kv = c.kv_heads * c.head_dim
        # q, k, v and gate, up are own parameters (Muon orthogonalises each) but one matmul.
        self.attn_norm = nn.Parameter(torch.ones(c.dim))
        self.attn_q = nn.Parameter(torch.empty(c.dim, c.dim))
        self.attn_k = nn.Parameter(torch.empty(kv, c.dim))
        self.attn_v = nn.Parameter(torch.empty(kv, c.dim))
        self.attn_q_bias = nn.Parameter(torch.zeros(c.dim))
        self.attn_k_bias = nn.Parameter(torch.zeros(kv))
        self.attn_output = nn.Parameter(torch.zeros(c.dim, c.dim))
        self.ffn_norm = nn.Parameter(torch.ones(c.dim))
        self.ffn_gate = nn.Parameter(torch.empty(c.ffn, c.dim))
        self.ffn_up = nn.Parameter(torch.empty(c.ffn, c.dim))
        self.ffn_down = nn.Parameter(torch.zeros(c.dim, c.ffn))

    def forward(self, x, cos, sin, at=None):
        """With `at` (flat positions) everything after the attention happens only there."""
        c = self.config
        batch, length, _ = x.shape
        kv = c.kv_heads * c.head_dim
        h = F.rms_norm(x, (c.dim,), self.attn_norm, c.eps)
        bias = torch.cat((self.attn_q_bias, self.attn_k_bias, self.attn_k_bias.new_zeros(kv)))
        qkv = self.linear(h, torch.cat((self.attn_q, self.attn_k, self.attn_v))) + bias
        qk = qkv[..., :c.dim + kv].reshape(batch, length, c.heads + c.kv_heads, 2, c.head_dim // 2)
        a, b = qk.unbind(3)
        qk = torch.cat((a * cos - b * sin, b * cos + a * sin), -1).transpose(1, 2)
        v = qkv[..., c.dim + kv:].reshape(batch, length, c.kv_heads, c.head_dim).transpose(1, 2)
        q, k = qk[:, :c.heads], qk[:, c.heads:]
        if c.kv_heads != c.heads:
            k = k.repeat_interleave(c.heads // c.kv_heads, 1)
            v = v.repeat_interleave(c.heads // c.kv_heads, 1)
        y = attention_bf16(q, k, v) if self.bf16 else F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).reshape(batch, length, c.dim)
        if at is not None:
            x, y = (z.reshape(-1, c.dim).index_select(0, at) for z in (x, y))
        x = x + self.linear(y, self.attn_output)
        h = F.rms_norm(x, (c.dim,), self.ffn_norm, c.eps)
        gate, up = self.linear(h, torch.cat((self.ffn_gate, self.ffn_up))).split(c.ffn, -1)
        return x + self.linear(F.silu(gate) * up, self.ffn_down)


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.autocast = False  # every product in bf16, by PyTorch itself
        self.token_embd = nn.Parameter(torch.empty(config.vocab, config.dim))
        self.blk = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.output_norm = nn.Parameter(torch.ones(config.dim))
        angle = torch.arange(config.context, dtype=torch.float64)[:, None] * config.frequencies()
        self.register_buffer("cos", angle.cos().float()[:, None], persistent=False)
        self.register_buffer("sin", angle.sin().float()[:, None], persistent=False)

    def use_bf16(self):
        """Products in bf16, weights and sums in f32: for training where the hardware multiplies bf16 faster."""
        if self.token_embd.device.type != "cpu":
            self.autocast = True
            return
        torch.set_float32_matmul_precision("medium")
        for block in self.blk:
            block.bf16 = True
            if not torch.cpu._is_amx_tile_supported():
                block.linear = LinearBf16.apply

    def init(self, seed):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.token_embd.normal_(0, EMBEDDING_STD, generator=generator)
            for block in self.blk:
                for name in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"):
                    weight = getattr(block, name)
                    weight.normal_(0, self.config.dim ** -0.5, generator=generator)
            if self.config.heads == self.config.kv_heads and self.config.layers > 1:
                self.init_copying(generator)
        return self

    def init_copying(self, generator):
        """Heads that would otherwise have to be found first. They are trained like all others."""
        c = self.config
        d, half, rotated = c.head_dim, c.head_dim // 2, c.rotated_pairs

        def rows(head):
            return slice(head * d, (head + 1) * d)

        def orthonormal():
            """[dim, head_dim], columns of unit length."""
            return torch.linalg.qr(torch.randn(c.dim, d, generator=generator))[0]

        # Layer 0: head n copies the token n + 1 before. Query and key are constant; rotated by their positions they are
        # parallel at that distance only.
        back, copying = self.blk[0], self.blk[1]
        for n in range(min(3, c.heads)):
            angle = (c.frequencies()[:rotated] * (n + 1)).float()
            key, query = torch.zeros(d), torch.zeros(d)
            key[:rotated] = SHARPNESS
            query[:rotated] = SHARPNESS * angle.cos()
            query[half:half + rotated] = -SHARPNESS * angle.sin()
            back.attn_q[rows(n)], back.attn_k[rows(n)] = 0, 0
            back.attn_q_bias[rows(n)], back.attn_k_bias[rows(n)] = query, key
            back.attn_v[rows(n)] = orthonormal().T
            back.attn_output[:, rows(n)] = EMBEDDING_STD * orthonormal()
        # Layer 1: three heads look for this token among those that layer 0 found before each token, and copy what
        # followed. Compared are the dimensions that are not rotated.
        plain = [i for i in range(d) if i % half >= rotated]
        for head in range(min(3, c.heads)):
            part = torch.randperm(d, generator=generator)[:len(plain)]
            query, key = torch.zeros(d, c.dim), torch.zeros(d, c.dim)
            query[plain] = back.attn_v[rows(0)][part]
            key[plain] = back.attn_output[:, rows(0)].T[part] / EMBEDDING_STD
            copying.attn_q[rows(head)], copying.attn_k[rows(head)] = MATCH * query, MATCH * key
            value = orthonormal()
            copying.attn_v[rows(head)] = value.T
            copying.attn_output[:, rows(head)] = 1.5 * EMBEDDING_STD * value

    def forward(self, tokens, at=None):
        """Ids [batch, length] to logits: everywhere, or only at the flat positions `at`."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.autocast):
            return self.logits(tokens, at).float()

    def logits(self, tokens, at):
        length = tokens.shape[1]
        x = F.embedding(tokens, self.token_embd)
        cos, sin = self.cos[:length], self.sin[:length]
        for block in self.blk[:-1]:
            x = block(x, cos, sin)
        x = self.blk[-1](x, cos, sin, at)
        x = F.rms_norm(x, (self.config.dim,), self.output_norm, self.config.eps)
        return F.linear(x, self.token_embd)
