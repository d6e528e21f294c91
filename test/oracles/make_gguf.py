"""Makes test/golden/gguf with the gguf package: a file with a tensor of every type, and what the package makes of it.

Usage: make_gguf.py write|compare DIRECTORY
"""
import json
import pathlib
import sys
from importlib.metadata import version

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize
from gguf.quants import quant_shape_to_byte_shape
from safetensors.numpy import load_file, save_file

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S",
         "IQ1_M"]
# Where the fp16 scales and minima of a block lie; every other byte may be anything.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [],
          "NVFP4": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0], "IQ1_M": []}
SHAPE = (3, 512)


def random_data(rng, name):
    """Every code, scale and sign, subnormal halves among them; no infinities or NaNs."""
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    if name in ("F32", "F16"):
        return (rng.standard_normal(SHAPE) * 10.0 ** rng.integers(-8, 4, SHAPE)).astype(np.float32 if name == "F32" else np.float16)
    if name == "BF16":
        values = (rng.standard_normal(SHAPE) * 10.0 ** rng.integers(-30, 30, SHAPE)).astype(np.float32)
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    blocks = rng.integers(0, 256, (SHAPE[0] * SHAPE[1] // elements, size), dtype=np.uint8)
    for at in HALVES[name]:
        scales = rng.standard_normal(len(blocks)) * 10.0 ** rng.integers(-7, 3, len(blocks))
        blocks[:, at:at + 2] = scales.astype(np.float16)[:, None].view(np.uint8)
    if name == "IQ1_M":  # a quarter of the scale in the high half of every second byte of the last eight
        blocks[:, 55] &= 0xBF
    return blocks.reshape(quant_shape_to_byte_shape(SHAPE, kind))


def write(folder):
    rng = np.random.default_rng(7)
    writer = GGUFWriter(folder / "types.gguf", "none")
    writer.add_uint8("value.u8", 200)
    writer.add_int8("value.i8", -100)
    writer.add_uint16("value.u16", 60000)
    writer.add_int16("value.i16", -30000)
    writer.add_uint32("value.u32", 4_000_000_000)
    writer.add_int32("value.i32", -2_000_000_000)
    writer.add_float32("value.f32", 1e-5)
    writer.add_bool("value.bool", True)
    writer.add_string("value.string", "Zürich \ufeff 🌿")
    writer.add_uint64("value.u64", 2 ** 40 + 1)
    writer.add_int64("value.i64", -(2 ** 40) - 1)
    writer.add_float64("value.f64", 0.1)
    writer.add_array("value.strings", ["a", "", "\ufeffb", "Ġthe"])
    writer.add_array("value.integers", [1, -2, 3])
    writer.add_array("value.floats", [0.5, -1000.0])
    writer.add_array("value.bools", [True, False])
    for name in TYPES:
        data = random_data(rng, name)
        kind = GGMLQuantizationType[name]
        writer.add_tensor(name.lower(), data, raw_dtype=None if name in ("F32", "F16") else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(folder):
    reader = GGUFReader(folder / "types.gguf")
    values = {t.name: dequantize(t.data, t.tensor_type) for t in reader.tensors}
    metadata = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    return values, metadata


def main():
    verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if verb == "write":
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        values, metadata = read(folder)
        save_file(values, folder / "values.safetensors")
        (folder / "metadata.json").write_text(
            json.dumps({"made_by": f"gguf {version('gguf')}, numpy {np.__version__}", "metadata": metadata}, indent=1) + "\n")
        return
    values, metadata = read(folder)
    committed = load_file(folder / "values.safetensors")
    assert set(values) == set(committed) == {t.lower() for t in TYPES}
    for name, value in values.items():
        assert value.dtype == np.float32 and value.tobytes() == committed[name].tobytes(), name
    assert metadata == json.loads((folder / "metadata.json").read_text())["metadata"]
    print(f"{len(values)} types of GGUF tensors agree bit for bit")


main()
