"""Loads every package of a folder with coremltools in one process, and writes down what it made of each.

Usage: check_random.py FOLDER

For N.mlpackage, N.result.json holds the error, or for each function the type of every value and the values coremltools folds; and
N.again.mlpackage is the program as coremltools serialises it again. Prints one line and exits 1 when a package was refused.
"""
import glob
import json
import logging
import os
import shutil
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import numpy as np
import coremltools as ct
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.converters.mil.mil import Operation, types
from coremltools.libmodelpackage import ModelPackage

ROOT = "Data/com.apple.CoreML"
unfolded = {}


def tolerate_faults_of_folding():
    """Types are what is checked; an operation whose constant folding itself fails is left unfolded, and counted."""
    original = Operation._auto_val

    def auto_val(self, output_types):
        if self.op_type == "scatter_along_axis" and self.mode.val != "update":
            # Its folding writes the updates down whatever the mode.
            self.value_inference = lambda: None
        try:
            return original(self, output_types)
        except (TypeError, ValueError, AttributeError, IndexError) as e:
            unfolded[f"{self.op_type}: {e}"[:120]] = unfolded.get(f"{self.op_type}: {e}"[:120], 0) + 1
            self.value_inference = lambda: None
            return original(self, output_types)

    Operation._auto_val = auto_val


def number(v):
    v = float(v)
    return v if np.isfinite(v) else str(v)


def describe(fn):
    found = {}
    folded = {}
    decoded = {}
    for op in fn.operations:
        if op.op_type == "const":
            continue
        for var in op.outputs:
            if types.is_state(var.sym_type):
                continue
            shape = [int(d) for d in var.shape]
            found[var.name] = [types.builtin_to_string(var.dtype), shape]
            if op.op_type.startswith("constexpr_"):
                if not any(v.op and v.op.op_type.startswith("constexpr_") for v in op.inputs.values() if v is not None):
                    made = op.materialized_val_inference()
                    value = made[op.outputs.index(var)] if isinstance(made, tuple) else made
                    decoded[var.name] = [number(v) for v in np.asarray(value, dtype=np.float64).reshape(-1)]
            elif var.val is not None and np.asarray(var.val).size <= 2048:
                folded[var.name] = [number(v) for v in np.asarray(var.val, dtype=np.float64).reshape(-1)]
    return {"types": found, "folded": folded, "decoded": decoded}


def check(path):
    assert ModelPackage.isValid(path), "ModelPackage.isValid is false"
    spec = ct.utils.load_spec(path)
    version = spec.specificationVersion
    program = milproto.load(spec, specification_version=version, file_weights_dir=f"{path}/{ROOT}/weights")
    functions = {name: describe(fn) for name, fn in program.functions.items()}
    again = path.replace(".mlpackage", ".again.mlpackage")
    shutil.rmtree(again, ignore_errors=True)
    shutil.copytree(path, again)
    os.remove(f"{again}/{ROOT}/weights/weight.bin")
    proto = MILProtoExporter(program, f"{again}/{ROOT}/weights", version).export()
    spec.mlProgram.CopyFrom(proto)
    with open(f"{again}/{ROOT}/model.mlmodel", "wb") as f:
        f.write(spec.SerializeToString())
    return functions


def main() -> int:
    tolerate_faults_of_folding()
    refused = 0
    folded = 0
    paths = [p for p in sorted(glob.glob(f"{sys.argv[1]}/*.mlpackage")) if ".again" not in p]
    for path in paths:
        try:
            result = {"functions": check(path)}
            folded += sum(len(f["folded"]) + len(f["decoded"]) for f in result["functions"].values())
        except Exception as e:
            result = {"error": f"{type(e).__name__}: {e}"}
            refused += 1
            print(f"{os.path.basename(path)}: {result['error']}"[:600])
        with open(path.replace(".mlpackage", ".result.json"), "w") as f:
            json.dump(result, f)
    for what, count in sorted(unfolded.items()):
        print(f"not folded by coremltools itself ({count}): {what}")
    print(f"coremltools {ct.__version__}: {len(paths)} packages, {refused} refused, {folded} values folded or decoded")
    return 1 if refused or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
