"""Loads every checkpoint that write-checkpoints.ts wrote with transformers and compares logits.

Usage: check_checkpoints.py FOLDER
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

root = pathlib.Path(sys.argv[1])
vectors = json.loads((root / "vectors.json").read_text())
worst = 0.0
for name, vector in vectors.items():
    model, info = AutoModelForCausalLM.from_pretrained(root / name, dtype=torch.float32, attn_implementation="eager",
                                                       output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], f"{name}: {info}"
    with torch.no_grad():
        logits = model.eval()(torch.tensor([vector["ids"]])).logits[0].flatten()
    expected = torch.tensor(vector["logits"])
    error = ((logits - expected).abs().max() / expected.abs().max()).item()
    assert error < 1e-4, f"{name}: logits differ by {error:.2e} of the largest"
    worst = max(worst, error)
print(f"{len(vectors)} checkpoints load, logits within {worst:.1e} of the largest")
