"""Loads a package with Apple's coremltools: layout, protobuf, MIL parser with its own type inference, blob reader.

Usage: check_package.py PACKAGE.mlpackage [EXPECTED.json], or check_package.py FOLDER for every package in it in one process,
each with the .json of its name. EXPECTED.json maps the name of a weight to a checksum of its decoded fp16 values; each is compared with what
coremltools decodes. Prints one JSON object a package; exits 1 when anything differs.
"""
import glob
import hashlib
import json
import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import numpy as np
import coremltools as ct
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.libmodelpackage import ModelPackage


def check(path: str, expected: dict) -> int:
    assert ModelPackage.isValid(path), "ModelPackage.isValid is false"
    spec = ct.utils.load_spec(path)
    weights = f"{path}/Data/com.apple.CoreML/weights"
    program = milproto.load(spec, specification_version=spec.specificationVersion, file_weights_dir=weights)
    functions = {}
    found = {}
    for name, fn in program.functions.items():
        kinds = {}
        for op in fn.operations:
            kinds[op.op_type] = kinds.get(op.op_type, 0) + 1
            if op.op_type.startswith("constexpr_"):
                if any(v.op and v.op.op_type.startswith("constexpr_") for v in op.inputs.values() if v is not None):
                    continue  # coremltools does not decode a constexpr that reads another
                made = op.materialized_val_inference()
                # Of sparse codes the mask and the values: the values are what was decoded.
                value, out = (made[1], op.outputs[1]) if isinstance(made, tuple) else (made, op.outputs[0])
                found[out.name] = hashlib.sha256(np.ascontiguousarray(value.astype(np.float16)).tobytes()).hexdigest()
        functions[name] = {
            "operations": kinds,
            "outputs": {o.name: [str(o.dtype), list(map(int, o.shape))] for o in fn.outputs},
        }
    wrong = [n for n, digest in expected.items() if found.get(n) != digest]
    print(json.dumps({"package": os.path.basename(path.rstrip("/")), "coremltools": ct.__version__, "specification": spec.specificationVersion,
                      "functions": functions, "weights": len(found), "wrong": wrong}))
    return 1 if wrong else 0


def main() -> int:
    path = sys.argv[1]
    if path.rstrip("/").endswith(".mlpackage"):
        return check(path, json.load(open(sys.argv[2])) if len(sys.argv) > 2 else {})
    packages = sorted(glob.glob(f"{path}/*.mlpackage"))
    bad = 0
    for package in packages:
        expected = package.replace(".mlpackage", ".json")
        bad += check(package, json.load(open(expected)) if os.path.exists(expected) else {})
    return 1 if bad or not packages else 0


if __name__ == "__main__":
    sys.exit(main())
