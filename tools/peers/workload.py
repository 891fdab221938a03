# SPDX-License-Identifier: Apache-2.0
"""The same problem as moebench's: shapes, seeded inputs and weights, and what the layer costs.

Every number is that of src/moe/workload.cpp, bit by bit, so that a peer routes the same tokens to the same experts.
"""
import math
from dataclasses import dataclass

import torch

FORMATS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Which tensor a key is for; the numbers are part of the seed's meaning.
INPUT, OUTPUT_GRADIENT, SKEW, GATE, W1, B1, W2, B2 = range(1, 9)
BITS = (1 << 64) - 1
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True)
class Shape:
    """T, H, F, E, K of a layer without biases on one rank."""
    tokens: int
    hidden: int
    ffn: int
    experts: int
    top_k: int
    activation: str  # gelu or swiglu
    dtype: str

    @property
    def w1_cols(self):
        return self.ffn * (2 if self.activation == "swiglu" else 1)

    @property
    def torch_dtype(self):
        return FORMATS[self.dtype]


def signed(bits):
    """64 bits as PyTorch's only whole numbers of that size."""
    bits &= BITS
    return bits - (1 << 64) if bits >> 63 else bits


def mix(key, index):
    """64 mixed bits of a key and an index: two numbers, or a number and an int64 tensor. SplitMix64's finaliser."""
    if isinstance(index, torch.Tensor):
        def shifted(z, by):
            return (z >> by) & ((1 << (64 - by)) - 1)  # PyTorch's shift keeps the sign
        z = index * signed(GOLDEN) + signed(key + GOLDEN)
        z = (z ^ shifted(z, 30)) * signed(FIRST)
        z = (z ^ shifted(z, 27)) * signed(SECOND)
        return z ^ shifted(z, 31)
    z = (key + (index + 1) * GOLDEN) & BITS
    z = (z ^ (z >> 30)) * FIRST & BITS
    z = (z ^ (z >> 27)) * SECOND & BITS
    return z ^ (z >> 31)


class Workload:
    """Makes the numbers of one shape and seed on a device."""

    def __init__(self, shape, seed, device):
        self.shape, self.seed, self.device = shape, seed, device

    def _field(self, which, amplitude, first, count, step=0):
        """Elements [first, first + count) of a random tensor, uniform in ± amplitude, fp32."""
        key = mix(mix(self.seed, which), step)
        bits = (mix(key, torch.arange(first, first + count, device=self.device)) >> 40) & 0xFFFFFF
        return ((bits - (1 << 23)).float() * 2.0**-23) * amplitude

    def _rounded(self, field, *sizes):
        return field.view(*sizes).to(self.shape.torch_dtype)

    def input(self, step):
        """x [T, H]: of unit variance."""
        shape = self.shape
        return self._rounded(self._field(INPUT, unit(), 0, shape.tokens * shape.hidden, step), shape.tokens, shape.hidden)

    def output_gradient(self, step):
        """dy [T, H]: the gradient of the loss <dy, y>."""
        shape = self.shape
        return self._rounded(self._field(OUTPUT_GRADIENT, unit(), 0, shape.tokens * shape.hidden, step), shape.tokens,
                             shape.hidden)

    def gate(self):
        """Wg [H, E]."""
        h, e = self.shape.hidden, self.shape.experts
        return self._rounded(self._field(GATE, unit(h), 0, h * e), h, e)

    def w1(self, expert):
        """[H, F], or [H, 2F] for SwiGLU: gate, then up."""
        h, cols = self.shape.hidden, self.shape.w1_cols
        return self._rounded(self._field(W1, unit(h), expert * h * cols, h * cols), h, cols)

    def w2(self, expert):
        """[F, H]."""
        h, f = self.shape.hidden, self.shape.ffn
        return self._rounded(self._field(W2, unit(f), expert * f * h, f * h), f, h)


def unit(fan_in=1):
    """Amplitude of a uniform field of variance 1 / fan_in, rounded where moebench rounds it."""
    root = torch.tensor(3.0).sqrt() / torch.tensor(float(fan_in)).sqrt()
    return root.item()


def flops_of(shape, which):
    """Matrix products only (docs/formulas.md, FLOPs); backward is twice forward."""
    weights = shape.hidden * shape.w1_cols + shape.ffn * shape.hidden
    forward = 2 * shape.tokens * (shape.top_k * weights + shape.hidden * shape.experts)
    return forward * {"forward": 1, "backward": 2}[which]


def bytes_of(shape, which, active):
    """Least memory traffic of a pass with `active` experts that have rows (docs/formulas.md, Bytes)."""
    t, e, s = shape.tokens, shape.experts, shape.torch_dtype.itemsize
    slots, row = t * shape.top_k, shape.hidden * s
    weights = (shape.hidden * shape.w1_cols + shape.ffn * shape.hidden) * s
    if which == "forward":
        gate, plan = (t + e) * row + 8 * slots, 12 * slots + 4 * (2 * e + 1)
        return gate + plan + 2 * ((t + slots) * row) + 12 * slots + active * weights + 2 * slots * row
    combine, pack = (t + 2 * slots) * row + 12 * slots, (slots + t) * row + 4 * slots
    gate = 3 * t * row + 2 * e * row + 12 * slots
    return combine + pack + gate + (active + e) * weights + slots * (3 * row + shape.w1_cols * s)


def memory_of(shape, backward, sets):
    """The parts of moebench's memory estimate (docs/formulas.md, Memory estimate), in bytes."""
    s, both = shape.torch_dtype.itemsize, 2 if backward else 1
    slots = shape.tokens * shape.top_k
    parameters = shape.hidden * shape.experts + shape.experts * (shape.hidden * shape.w1_cols + shape.ffn * shape.hidden)
    return {"weights_bytes": parameters * s, "gradients_bytes": parameters * s if backward else 0,
            "activations_bytes": slots * (2 * both * shape.hidden + both * (shape.w1_cols + shape.ffn)) * s +
            8 * shape.tokens * shape.experts + 20 * slots,
            "inputs_bytes": (sets + 2) * shape.tokens * shape.hidden * s * both}


def input_sets(shape, cache_bytes):
    """How many inputs are together twice as large as the last-level cache, from 1 to 16."""
    return min(16, max(1, math.ceil(2 * cache_bytes / max(1, shape.tokens * shape.hidden * shape.torch_dtype.itemsize))))
