"""Makes test/golden/gguf/fitted.safetensors with llama.cpp's own quantizer, which node-llama-cpp brings as libggml-base.so: values,
importances of their columns, and the bytes of every type with scales to fit, without and with the importances.

Usage: make_gguf_fitted.py write|compare DIRECTORY NODE_MODULES
"""
import ctypes
import pathlib
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from safetensors.numpy import load_file, save_file

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
ROWS, COLUMNS = 8, 512


def library(modules):
    [path] = list(pathlib.Path(modules).glob("@node-llama-cpp/*/bins/*/libggml-base.*"))
    ggml = ctypes.CDLL(str(path))
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + 3 * [ctypes.c_int64] + [ctypes.c_void_p]
    return ggml


def quantize(ggml, name, values, importance):
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    rows, columns = values.shape
    out = np.zeros((rows, columns // elements * size), np.uint8)
    weights = None if importance is None else importance.ctypes.data
    written = ggml.ggml_quantize_chunk(int(kind), values.ctypes.data, out.ctypes.data, 0, rows, columns, weights)
    assert written == out.size, (name, written, out.size)
    return out


def make(ggml):
    rng = np.random.default_rng(13)
    values = rng.standard_normal((ROWS, COLUMNS))
    values[2:4] = rng.standard_t(3, (2, COLUMNS))  # outliers
    values[4] += 1.5  # a mean
    values[5] = rng.uniform(-1, 1, COLUMNS)
    values[6, :256] = 0
    values = (values * 10.0 ** rng.integers(-2, 1, (ROWS, 1))).astype(np.float32)
    importance = np.exp(rng.standard_normal(COLUMNS) * 1.5).astype(np.float32)
    made = {"values": values, "importance": importance}
    for name in TYPES:
        made[name] = quantize(ggml, name, values, None)
        made[f"{name}.weighted"] = quantize(ggml, name, values, importance)
    return made


verb, folder, modules = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
made = make(library(modules))
if verb == "write":
    save_file(made, folder / "fitted.safetensors", {"made_by": "node-llama-cpp 3.21.1"})
else:
    committed = load_file(folder / "fitted.safetensors")
    for name, data in made.items():
        assert data.tobytes() == committed[name].tobytes(), name
    print(f"{len(TYPES)} types of llama.cpp's own quantizer are as committed")
