# SPDX-License-Identifier: Apache-2.0
"""One MoE layer as people write it in PyTorch, in several ways. Same gate, same experts, no biases; autograd does the
backward pass. After forward(), `chosen` [T, K] and `score` [T, K] are the routing.

Weights lie as nn.Linear has them: [out, in].
"""
import importlib.util

import torch
import torch.nn.functional as F
from torch import nn


def activate(z, activation):
    if activation == "gelu":
        return F.gelu(z)
    gate, up = z.chunk(2, dim=-1)
    return F.silu(gate) * up


class Gate(nn.Module):
    """Logits by one linear layer, the K largest, softmax over those: the FastMoE paper's gate."""

    def __init__(self, shape, **made):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.experts, shape.hidden, **made))
        self.top_k = shape.top_k

    def forward(self, x):
        logits, chosen = F.linear(x, self.weight).float().topk(self.top_k, dim=-1)
        return chosen, logits.softmax(dim=-1)


class Expert(nn.Module):
    def __init__(self, shape, **made):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(shape.w1_cols, shape.hidden, **made))
        self.w2 = nn.Parameter(torch.empty(shape.hidden, shape.ffn, **made))
        self.activation = shape.activation

    def forward(self, x):
        return F.linear(activate(F.linear(x, self.w1), self.activation), self.w2)


class Layer(nn.Module):
    """A gate and experts in a list."""
    waits_for_device = True  # the host reads sizes in the midst of a pass
    activations = ["gelu", "swiglu"]
    needs = "torch"  # the package it comes from

    def __init__(self, shape, device):
        super().__init__()
        made = dict(device=device, dtype=shape.torch_dtype)
        self.shape, self.gate = shape, Gate(shape, **made)
        self.make_experts(shape, made)

    def make_experts(self, shape, made):
        self.experts = nn.ModuleList(Expert(shape, **made) for _ in range(shape.experts))

    def matrices(self, expert):
        """(w1 [out, in], w2 [out, in]) of an expert."""
        return self.experts[expert].w1, self.experts[expert].w2

    def gradients(self, expert):
        return tuple(matrix.grad for matrix in self.matrices(expert))

    def load(self, workload):
        with torch.no_grad():
            self.gate.weight.copy_(workload.gate().t())
            for expert in range(self.shape.experts):
                w1, w2 = self.matrices(expert)
                w1.copy_(workload.w1(expert).t())
                w2.copy_(workload.w2(expert).t())

    def route(self, x):
        self.chosen, self.score = self.gate(x)
        return self.chosen, self.score


class Mask(Layer):
    """The FastMoE repository's own baseline (its brute force, v0.1.2): rows repeated K times; for each expert a mask over
    all of them, the rows it marks, and the results written back. Each mask makes the host wait twice."""

    def forward(self, x):
        chosen, score = self.route(x)
        rows, owner = x.repeat_interleave(self.shape.top_k, dim=0), chosen.flatten()
        out = torch.empty_like(rows)
        for number, expert in enumerate(self.experts):
            mask = owner == number
            out[mask] = expert(rows[mask])
        return torch.bmm(score.to(x.dtype).unsqueeze(1), out.view(*chosen.shape, -1)).squeeze(1)


class Rau(Layer):
    """The baseline that the paper names (D. Rau's mixture-of-experts), with the paper's gate and experts: scores as a
    dense [T, E] matrix, its non-zeros sorted by expert, one gather, a split, the experts one by one, and an index_add."""

    def forward(self, x):
        chosen, score = self.route(x)
        dense = torch.zeros(len(x), self.shape.experts, device=x.device).scatter(1, chosen, score)
        owner, token = dense.t().nonzero(as_tuple=True)  # in the order of the experts
        sizes = (dense > 0).sum(dim=0).tolist()
        weight = dense[token].gather(1, owner.unsqueeze(1))
        parts = x[token].split(sizes)
        out = torch.cat([expert(part) for expert, part in zip(self.experts, parts)])
        return torch.zeros_like(x).index_add(0, token, out * weight.to(x.dtype))


class Index(Layer):
    """The loop of many model libraries: for each expert the tokens that chose it, and their results added in place."""

    def forward(self, x):
        chosen, score = self.route(x)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, choice = torch.where(chosen == number)
            y.index_add_(0, token, expert(x[token]) * score[token, choice, None].to(x.dtype))
        return y


class Grouped(Layer):
    """Rows sorted by expert, all experts in one grouped product per matrix; the host never waits."""
    waits_for_device = False

    def make_experts(self, shape, made):
        self.w1 = nn.Parameter(torch.empty(shape.experts, shape.w1_cols, shape.hidden, **made))
        self.w2 = nn.Parameter(torch.empty(shape.experts, shape.hidden, shape.ffn, **made))

    def matrices(self, expert):
        return self.w1[expert], self.w2[expert]

    def gradients(self, expert):
        return self.w1.grad[expert], self.w2.grad[expert]

    def forward(self, x):
        chosen, score = self.route(x)
        k = self.shape.top_k
        owner, slot = chosen.flatten().sort(stable=True)
        experts = torch.arange(self.shape.experts, device=x.device)
        ends = torch.searchsorted(owner, experts, right=True).to(torch.int32)
        rows = x.index_select(0, slot // k)
        inner = activate(torch._grouped_mm(rows, self.w1.transpose(1, 2), offs=ends), self.shape.activation)
        out = torch._grouped_mm(inner, self.w2.transpose(1, 2), offs=ends)
        place = torch.empty_like(slot).scatter_(0, slot, torch.arange(len(slot), device=x.device))
        return (out.index_select(0, place).view(*chosen.shape, -1) * score.to(x.dtype).unsqueeze(-1)).sum(dim=1)


def engines():
    """{name: (class, whether it is compiled)}."""
    from library_layers import Transformers, TransformersGrouped
    return {"torch-mask": (Mask, False), "torch-rau": (Rau, False), "torch-index": (Index, False),
            "torch-grouped": (Grouped, False), "torch-grouped-compiled": (Grouped, True),
            "transformers": (Transformers, False), "transformers-grouped": (TransformersGrouped, False)}


def why_not(kind, compiled, shape, device):
    """Why an engine cannot run this; empty if it can."""
    if importlib.util.find_spec(kind.needs) is None:
        return f"{kind.needs} is not installed"
    if shape.activation not in kind.activations:
        return f"has no {shape.activation}, only {', '.join(kind.activations)}"
    if kind is Grouped and shape.dtype != "bf16" and (compiled or device.type == "cuda"):
        return "torch._grouped_mm multiplies bf16 only, but in eager mode on a CPU"
    return ""


def make(kind, compiled, shape, device):
    """The layer, and what to call for its output: the layer itself, or what torch.compile made of it."""
    layer = kind(shape, device)
    if not compiled:
        return layer, layer
    torch._dynamo.reset()  # what it learnt from another shape makes it compile for any
    return layer, torch.compile(layer)
