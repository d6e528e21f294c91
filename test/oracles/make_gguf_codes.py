"""Makes test/golden/gguf/codes.safetensors with the gguf package: random values, and the bytes of every type it writes.

Usage: make_gguf_codes.py write|compare DIRECTORY
"""
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from safetensors.numpy import load_file, save_file

TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def make():
    rng = np.random.default_rng(11)
    values = (rng.standard_normal((12, 96)) * 10.0 ** rng.integers(-6, 3, (12, 1))).astype(np.float32)
    values[3] = 0  # no scale at all
    values[4] = 0.25  # a single value
    values[5] = np.round(values[5] * 8) / 16  # ties
    values[6, :32] = -values[6, :32].clip(0)  # one sign
    made = {"values": values}
    for name in TYPES:
        data = quantize(values, GGMLQuantizationType[name])
        made[name] = np.ascontiguousarray(data).view(np.uint8).reshape(12, -1)
    return made


verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
made = make()
if verb == "write":
    save_file(made, folder / "codes.safetensors")
else:
    committed = load_file(folder / "codes.safetensors")
    for name, data in made.items():
        assert data.tobytes() == committed[name].tobytes(), name
    print(f"{len(TYPES)} types of GGUF codes agree bit for bit")
