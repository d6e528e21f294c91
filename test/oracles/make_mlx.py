"""Makes test/golden/mlx/groups.safetensors with mlx: random rows, and their codes, scales, biases and values in every number of bits.

Usage: make_mlx.py write|compare DIRECTORY
"""
import pathlib
import sys

import mlx.core as mx
import numpy as np
from safetensors.numpy import load_file, save_file

BITS = [2, 3, 4, 5, 6, 8]
GROUP = 32

mx.set_default_device(mx.cpu)


def make():
    rng = np.random.default_rng(7)
    rows = (rng.standard_normal((3, 64)) * 10.0 ** rng.integers(-2, 2, (3, 1))).astype(np.float16)
    made = {"rows": rows.astype(np.float32)}
    for bits in BITS:
        codes, scales, biases = mx.quantize(mx.array(rows), group_size=GROUP, bits=bits)
        wide = [s.astype(mx.float32) for s in (scales, biases)]
        values = mx.dequantize(codes, *wide, group_size=GROUP, bits=bits)
        made[f"{bits}.codes"] = np.ascontiguousarray(np.array(codes)).view(np.uint8)
        made[f"{bits}.scales"] = np.array(wide[0])
        made[f"{bits}.biases"] = np.array(wide[1])
        made[f"{bits}.values"] = np.array(values)
    return made


verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
made = make()
if verb == "write":
    folder.mkdir(exist_ok=True)
    save_file(made, folder / "groups.safetensors")
else:
    committed = load_file(folder / "groups.safetensors")
    for name, data in made.items():
        assert data.tobytes() == committed[name].tobytes(), name
    print(f"MLX groups of {len(BITS)} numbers of bits agree bit for bit")
