"""The peer's side of the export in `npm run bench`: a checkpoint through coremltools to an .mlpackage on disk.

Prints one JSON object: seconds of torch.jit.trace, of coremltools' conversion, and of saving. Importing the libraries and loading
the checkpoint are not counted.

Usage: coremltools_peer.py CHECKPOINT OUT.mlpackage
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
import coremltools as ct
from transformers import AutoModelForCausalLM

LENGTH = 32

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
# The mask every layer adds, made once: tracing transformers' own mask code through coremltools fails.
causal = torch.full((LENGTH, LENGTH), -1e4).triu(1)[None, None]


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, ids):
        masks = {"full_attention": causal, "sliding_attention": causal}
        return self.model(input_ids=ids, attention_mask=masks, use_cache=False).logits


def convert(out):
    start = time.perf_counter()
    with torch.no_grad():
        traced = torch.jit.trace(Logits().eval(), torch.zeros((1, LENGTH), dtype=torch.int32), check_trace=False)
    after_trace = time.perf_counter()
    package = ct.convert(
        traced,
        inputs=[ct.TensorType(name="ids", shape=(1, LENGTH), dtype=np.int32)],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    after_convert = time.perf_counter()
    package.save(out)
    end = time.perf_counter()
    return {"trace": after_trace - start, "convert": after_convert - after_trace, "save": end - after_convert,
            "export": end - start}


convert(sys.argv[2])  # warm up
rounds = [convert(sys.argv[2]) for _ in range(2)]
best = min(rounds, key=lambda r: r["export"])
print(json.dumps({**best, "versions": f"coremltools {ct.__version__}, torch {torch.__version__}"}))
