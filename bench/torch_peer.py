"""The peer's side of `npm run bench`: prints seconds (least of several rounds) as one JSON object.

Usage: torch_peer.py CHECKPOINT THREADS
"""
import json
import logging
import sys
import time
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import numpy as np
import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(int(sys.argv[2]))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
torch.manual_seed(0)
ids = torch.randint(4, 1024, (48, 161))


def loss(batch):
    logits = model(batch[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1))


def least(work, rounds):
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def evaluate():
    with torch.no_grad():
        for at in range(0, 48, 12):
            loss(ids[at:at + 12])


optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)


def train():
    optimizer.zero_grad()
    loss(ids[:8]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def leave_one_out():
    with torch.no_grad():
        for layer in model.model.layers:
            for head in range(8):
                def zero(_module, args, head=head):
                    x = args[0].clone()
                    x[..., head * 32:(head + 1) * 32] = 0
                    return (x,)
                handle = layer.self_attn.o_proj.register_forward_pre_hook(zero)
                loss(ids[:8])
                handle.remove()


def palettize():
    from coremltools._deps import kmeans1d
    w = np.random.RandomState(0).randn(512, 512).astype(np.float32)
    return lambda: [kmeans1d.cluster(w[r:r + 16].reshape(-1).tolist(), 16) for r in range(0, 512, 16)]


out = {"evaluate": least(evaluate, 3), "train": least(train, 5), "leaveOneOut": least(leave_one_out, 1),
       "versions": f"torch {torch.__version__}"}
try:
    out["palettize"] = least(palettize(), 1)
except Exception as error:  # another coremltools may keep it elsewhere
    out["palettizeError"] = repr(error)
print(json.dumps(out))
