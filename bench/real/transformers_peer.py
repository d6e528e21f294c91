"""The work of bench/real/rows in transformers, eager, fp32, on one thread. Prints processor seconds and peak memory as JSON.

Usage: transformers_peer.py evaluate|taylor|generate MODEL TEXT TOKENS
Loading counts into memory and not into time: here and there a table says what the work costs, not the start of Python.
"""
import json
import os
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

verb, path, text, tokens = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
torch.set_num_threads(1)
folder, gguf = (os.path.dirname(path), {"gguf_file": os.path.basename(path)}) if path.endswith(".gguf") else (path, {})
tokenizer = AutoTokenizer.from_pretrained(folder, **gguf)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **gguf).eval()
ids = tokenizer(open(text, encoding="utf8").read()[: 8 * tokens + 1000], return_tensors="pt").input_ids[0]


def windows(length):
    return [ids[i : i + length][None] for i in range(0, tokens, length)]


def evaluate():
    with torch.no_grad():
        for window in windows(512):
            model(window, labels=window)


def taylor():
    gates = [torch.ones(layer.self_attn.o_proj.in_features, requires_grad=True) for layer in model.model.layers]
    for gate, layer in zip(gates, model.model.layers):
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args, gate=gate: (args[0] * gate,))
    for p in model.parameters():
        p.requires_grad_(False)
    for window in windows(256):
        model(window, labels=window).loss.backward()


def generate():
    with torch.no_grad():
        model.generate(ids[None, :8], max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)


started = time.process_time()
{"evaluate": evaluate, "taylor": taylor, "generate": generate}[verb]()
print(
    json.dumps(
        {
            "processorSeconds": time.process_time() - started,
            "peakBytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
    )
)
