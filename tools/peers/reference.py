# SPDX-License-Identifier: Apache-2.0
"""A layer's output and gradients against the same layer in double precision, for a few tokens, experts and units.

The choice of experts is taken from the layer, and checked on its own, as moebench does (docs/method.md).
"""
import torch

from layers import activate

BOUNDS = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 1.5e-2}  # error_bound of src/layer/verify.cpp
TOKENS, EXPERTS, UNITS = 16, 4, 4


def spread(size, most):
    """Up to `most` of 0 … size - 1, evenly, first and last among them."""
    count = min(size, most)
    return [0] if count == 1 else [i * (size - 1) // (count - 1) for i in range(count)]


def relative(out, expected):
    """|out - expected| / |expected|; None if it is not finite."""
    error = ((out.double() - expected).norm() / expected.norm()).item()
    return error if error < float("inf") else None


def misrouting(logits, chosen):
    """By how much the best expert left out beats the worst one taken, relative to the largest logit."""
    taken = logits.gather(1, chosen).amin(dim=1)
    left = logits.scatter(1, chosen, -torch.inf).amax(dim=1)
    return ((left - taken) / logits.abs().amax(dim=1)).amax().clamp(min=0).item()


def check_tokens(layer, workload, x, dy, y, dx):
    """[(name, error)] of the routing, the output and the input's gradient, for some tokens."""
    at = torch.tensor(spread(len(x), TOKENS), device=x.device)
    chosen = layer.chosen[at]
    tokens = x[at].double().requires_grad_()
    logits = tokens @ workload.gate().double()
    score = logits.gather(1, chosen).softmax(dim=1)
    expected = torch.zeros_like(tokens)
    for expert in chosen.unique().tolist():
        token, choice = torch.where(chosen == expert)
        inner = activate(tokens[token] @ workload.w1(expert).double(), workload.shape.activation)
        expected = expected.index_add(0, token, inner @ workload.w2(expert).double() * score[token, choice, None])
    found = [("gate", misrouting(logits.detach(), chosen)), ("score", relative(layer.score[at], score.detach())),
             ("y", relative(y[at], expected.detach()))]
    if dx is not None:
        (gradient,) = torch.autograd.grad(expected, tokens, dy[at].double())
        found.append(("dx", relative(dx[at], gradient)))
    return found


def check_units(layer, workload, x, dy):
    """[(name, error)] of the gradients of some units of some experts, over all their rows."""
    shape, out, expected = workload.shape, ([], []), ([], [])
    for expert in spread(shape.experts, EXPERTS):
        units = torch.tensor(spread(shape.ffn, UNITS), device=x.device)
        columns = torch.cat([units, units + shape.ffn]) if shape.activation == "swiglu" else units
        w1 = workload.w1(expert)[:, columns].double().requires_grad_()
        w2 = workload.w2(expert)[units].double().requires_grad_()
        token, choice = torch.where(layer.chosen == expert)
        rows = activate(x[token].double() @ w1, shape.activation) @ w2
        weighted = dy[token].double() * layer.score[token, choice, None].double()
        for i, gradient in enumerate(torch.autograd.grad(rows, (w1, w2), weighted)):
            expected[i].append(gradient.flatten())
        dw1, dw2 = layer.gradients(expert)
        out[0].append(dw1[columns].t().flatten())
        out[1].append(dw2[:, units].t().flatten())
    return [(name, relative(torch.cat(out[i]), torch.cat(expected[i]))) for i, name in enumerate(("dw1", "dw2"))]


def check(layer, call, workload, backward):
    """Runs one iteration and compares. The `check` of a report."""
    x, dy = workload.input(0).requires_grad_(backward), workload.output_gradient(0)
    with torch.set_grad_enabled(backward):
        y = call(x)
    if backward:
        y.backward(dy)
    layer.score = layer.score.detach()
    lawful = (layer.chosen.sort(dim=1).values.diff(dim=1) != 0).all().item()
    items = [("gate", None)]
    if lawful:
        items = check_tokens(layer, workload, x.detach(), dy, y.detach(), x.grad)
        if backward:
            items += check_units(layer, workload, x.detach(), dy)
    bound = BOUNDS[workload.shape.dtype]
    return {"mode": "quick", "passed": all(error is not None and error <= bound for _, error in items),
            "items": [{"name": name, "error": error, "bound": bound} for name, error in items]}
