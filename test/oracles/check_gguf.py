"""Reads the files of write-ggufs.ts with the gguf package and compares every tensor, bit for bit, with what Espalier reads.

Usage: check_gguf.py FOLDER
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
from gguf import GGUFReader, dequantize

root = pathlib.Path(sys.argv[1])
tensors = 0
for name, digests in json.loads((root / "digests.json").read_text()).items():
    reader = GGUFReader(root / name)
    assert {t.name for t in reader.tensors} == set(digests), name
    assert reader.get_field("general.architecture").contents() == name.split("-")[0]
    for t in reader.tensors:
        values = np.ascontiguousarray(dequantize(t.data, t.tensor_type), dtype=np.float32)
        assert hashlib.sha256(values.tobytes()).hexdigest() == digests[t.name], f"{name}: {t.name}"
        tensors += 1
for name in json.loads((root / "texts.json").read_text()):
    reader = GGUFReader(root / name)
    assert len(reader.get_field("tokenizer.ggml.tokens").contents()) == reader.get_field("gemma3.vocab_size").contents()
print(f"{tensors} tensors in {len(list(root.glob('*.gguf')))} GGUF files agree bit for bit")
