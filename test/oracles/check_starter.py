"""The starter in transformers: the same token ids, the same decoded text, the same logits.

Usage: check_starter.py CHECKPOINT VECTORS.json
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
worst = 0.0
for item in json.load(open(sys.argv[2])):
    ids = tokenizer(item["text"]).input_ids
    assert ids == item["ids"], (item["text"], ids, item["ids"])
    assert tokenizer.decode(ids, skip_special_tokens=True) == item["decoded"], item["text"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    expected = torch.tensor(item["lastLogits"])
    worst = max(worst, ((logits - expected).abs().max() / logits.abs().max()).item())
print(f"starter: ids and text equal; largest relative difference of logits {worst:.1e}")
assert worst < 1e-4
