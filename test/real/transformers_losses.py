"""What transformers makes of a GGUF file: for each sequence of token ids, the sum of -log p over all but the first.

Usage: transformers_losses.py MODEL.gguf SEQUENCES.json
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

path = pathlib.Path(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
losses = []
with torch.no_grad():
    for ids in json.loads(pathlib.Path(sys.argv[2]).read_text()):
        tokens = torch.tensor(ids)
        logits = model(tokens[None]).logits[0, :-1].double()
        losses.append(torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="sum").item())
print(json.dumps(losses))
