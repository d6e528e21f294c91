"""GPTQ as published (Frantar et al., 2023: Hessian, act-order, static groups, column loop with the inverse's factor), in torch and
double precision, on a small matrix.

Usage: gptq_golden.py make|compare FILE.json
"""
import json
import sys

import torch

ROWS, COLUMNS, TOKENS, GROUP = 8, 64, 256, 32


def numbers(count, state):
    """Uniform in [-1, 1), exact in fp32: 16 bits of a linear congruential generator."""
    out = []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 16) / 2**15 - 1)
    return torch.tensor(out, dtype=torch.float64)


def problem():
    w = numbers(ROWS * COLUMNS, 1).reshape(ROWS, COLUMNS)
    z = numbers(TOKENS * COLUMNS, 2).reshape(TOKENS, COLUMNS)
    # Neighbours depend on each other, and channels differ in size.
    x = z + torch.roll(z, 1, 1) + 0.5 * torch.roll(z, 5, 1)
    return w, x * (1 + torch.arange(COLUMNS, dtype=torch.float64) % 7)


def gptq(w, gram, quantize):
    """`quantize(column, values)` gives the nearest values of a column."""
    w = w.clone()
    n = w.shape[1]
    h = gram + 0.01 * gram.diagonal().mean() * torch.eye(n, dtype=torch.float64)
    order = torch.argsort(gram.diagonal(), descending=True, stable=True)
    w, h = w[:, order], h[order][:, order]
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    out = torch.zeros_like(w)
    for i in range(n):
        out[:, i] = quantize(int(order[i]), w[:, i])
        error = (w[:, i] - out[:, i]) / inverse[i, i]
        w[:, i:] -= error[:, None] * inverse[i, i:][None]
    return out[:, torch.argsort(order)]


def int4(w, gram):
    scales = (w.reshape(ROWS, -1, GROUP).abs().amax(2) / 7).half().double()
    scale = lambda c: scales[:, c // GROUP]
    q = gptq(w, gram, lambda c, v: torch.clamp(torch.round(v / scale(c)), -8, 7) * scale(c))
    return scales, torch.round(q / scales.repeat_interleave(GROUP, 1)).int()


def palette(w, gram):
    table = torch.tensor([-0.75, -0.375, -0.125, 0, 0.125, 0.25, 0.5, 0.875], dtype=torch.float64)
    nearest = lambda v: (v[:, None] - table[None]).abs().argmin(1)
    q = gptq(w, gram, lambda c, v: table[nearest(v)])
    return table, nearest(q.reshape(-1)).reshape(ROWS, COLUMNS).int()


w, x = problem()
gram = x.T @ x
scales, codes = int4(w, gram)
table, indices = palette(w, gram)
found = {
    "versions": f"torch {torch.__version__}",
    "rows": ROWS, "columns": COLUMNS, "tokens": TOKENS, "group": GROUP,
    "scales": scales.flatten().tolist(), "codes": codes.flatten().tolist(),
    "table": table.tolist(), "indices": indices.flatten().tolist(),
}
if sys.argv[1] == "make":
    json.dump(found, open(sys.argv[2], "w"))
else:
    known = json.load(open(sys.argv[2]))
    for key in ("scales", "codes", "table", "indices"):
        assert found[key] == known[key], f"{key} differ"
    print("GPTQ codes agree")
