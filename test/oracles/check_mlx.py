"""mlx-lm on the CPU loads every folder that write-mlx.ts wrote and says what Espalier reads from it.

Usage: check_mlx.py FOLDER
"""
import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

mx.set_default_device(mx.cpu)
root = Path(sys.argv[1])
worst = 0.0
vectors = json.load(open(root / "vectors.json"))
for v in vectors:
    model, _ = load_model(root / v["folder"])
    ids = list(v["ids"])
    logits = np.array(model(mx.array([ids]))[0, -1].astype(mx.float32))
    expected = np.array(v["logits"])
    # Activations are fp16 or bf16 there and fp32 here.
    difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
    worst = max(worst, difference)
    assert difference < 0.01, f"{v['folder']}: logits differ by {difference} of the largest"
    for n, token in enumerate(v["greedy"]):
        logits = np.array(model(mx.array([ids]))[0, -1].astype(mx.float32))
        found = int(logits.argmax())
        tied = logits.max() - logits[token] < 0.01 * np.abs(logits).max()
        assert found == token or tied, f"{v['folder']}: token {n} is {found}, {token} was expected"
        ids.append(token)
print(f"mlx-lm agrees on {len(vectors)} folders, logits within {worst:.1e} of the largest")
