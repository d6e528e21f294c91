"""The SHA-256 of every tensor of a GGUF file as the gguf package dequantizes it, by name, as JSON.

Usage: tensor_digests.py MODEL.gguf
"""
import hashlib
import json
import sys

import numpy as np
from gguf import GGUFReader, dequantize

digests = {}
for tensor in GGUFReader(sys.argv[1]).tensors:
    values = dequantize(tensor.data, tensor.tensor_type)
    assert values.dtype == np.float32
    digests[tensor.name] = hashlib.sha256(np.ascontiguousarray(values)).hexdigest()
print(json.dumps(digests))
