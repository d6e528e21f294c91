"""Makes the packages in test/golden/coremltools with coremltools, or compares with what is committed.

Usage: make_packages.py write|compare DIRECTORY

Every target that is written here and iOS 16, every compression that `coremltools.optimize.coreml` offers for it, on a projection of an
odd size; and programs with states, several functions, open shapes, control flow and a whole decoder block. Of each package the model
(TARGET/NAME.mlmodel) and the weight file (TARGET/NAME.bin), without the manifest, whose UUIDs are random; seeds are fixed, so the
same version writes the same bytes. corpus.json says what made it and, of each projection, the weight that coremltools
decodes: the SHA-256 of its fp16 values, little-endian.
"""
import hashlib
import json
import logging
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import coremltools as ct
import coremltools.optimize.coreml as opt
import numpy as np
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.converters.mil.mil import types

TARGETS = {"iOS16": ct.target.iOS16, "iOS17": ct.target.iOS17, "iOS18": ct.target.iOS18, "iOS26": ct.target.iOS26}
OUT, IN = 22, 18
AWKWARD_OUT = 23
GRANULARITIES = ("per_tensor", "per_channel")


def affine(**options):
    return lambda m, joint=False: opt.linear_quantize_weights(m, opt.OptimizationConfig(
        opt.OpLinearQuantizerConfig(weight_threshold=0, **options)), joint_compression=joint)


def palette(**options):
    return lambda m, joint=False: opt.palettize_weights(m, opt.OptimizationConfig(
        opt.OpPalettizerConfig(mode="uniform", weight_threshold=0, **options)), joint_compression=joint)


def pruned(**options):
    return lambda m, joint=False: opt.prune_weights(m, opt.OptimizationConfig(
        opt.OpMagnitudePrunerConfig(weight_threshold=0, **options)), joint_compression=joint)


def both(first, second):
    return lambda m: second(first(m), joint=True)


def schemes(target):
    """The compressions that coremltools writes for a target, by name."""
    newest = target in ("iOS18", "iOS26")
    found = {"dense": lambda m: m, "sparse": pruned(target_sparsity=0.5), "sparse_n_m": pruned(n_m_ratio=(1, 2))}
    for mode in ("linear", "linear_symmetric"):
        for dtype in ("int8", "uint8"):
            for granularity in GRANULARITIES:
                found[f"{mode}_{dtype}_{granularity}"] = affine(mode=mode, dtype=dtype, granularity=granularity)
    for bits in (1, 2, 3, 4, 6, 8) if newest else (1, 2, 4, 6, 8):
        found[f"palette{bits}"] = palette(nbits=bits)
    if not newest:
        return found
    for dtype in ("int4", "uint4"):
        for granularity in GRANULARITIES:
            found[f"{dtype}_{granularity}"] = affine(dtype=dtype, granularity=granularity)
    found["int4_block"] = affine(dtype="int4", granularity="per_block", block_size=6)
    found["int8_block"] = affine(dtype="int8", granularity="per_block", block_size=9)
    for bits in (1, 2, 3, 4, 6, 8):
        found[f"palette{bits}_grouped"] = palette(nbits=bits, granularity="per_grouped_channel", group_size=11)
    found["palette4_rows"] = palette(nbits=4, granularity="per_grouped_channel", group_size=1)
    found["palette4_scaled"] = palette(nbits=4, enable_per_channel_scale=True)
    found["palette4_grouped_scaled"] = palette(nbits=4, granularity="per_grouped_channel", group_size=11, enable_per_channel_scale=True)
    half = pruned(target_sparsity=0.5)
    found["sparse_palette4"] = both(half, palette(nbits=4))
    found["sparse_int8"] = both(half, affine(dtype="int8"))
    found["palette4_int8_table"] = both(palette(nbits=4), affine(dtype="int8", granularity="per_tensor"))
    return found


def convert(program, target, **options):
    return ct.convert(program, convert_to="mlprogram", minimum_deployment_target=TARGETS[target],
                      compute_precision=ct.precision.FLOAT16, skip_model_load=True, **options)


def projection(target, rows):
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((rows, IN)).astype(np.float16)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, IN), dtype=types.fp16)], opset_version=TARGETS[target])
    def main(x):
        return mb.linear(x=x, weight=mb.const(val=weight, name="weight"), name="y")

    return convert(main, target)


def vectors(target):
    """A palette of vectors, which coremltools fits with scikit-learn alone, and reads and writes without."""
    rng = np.random.default_rng(5)
    indices = rng.integers(0, 16, (OUT // 2, IN)).astype(types.nptype_from_builtin(types.string_to_builtin("uint4")))
    lut = rng.standard_normal((1, 1, 16, 2)).astype(np.float16)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, IN), dtype=types.fp16)], opset_version=TARGETS[target])
    def main(x):
        weight = mb.constexpr_lut_to_dense(indices=indices, lut=lut, vector_axis=0, name="weight")
        return mb.linear(x=x, weight=weight, name="y")

    return convert(main, target)


def stateful(target):
    """A cache that is read, updated in a slice and attended to."""
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 2, 1, 32), dtype=types.fp16), mb.TensorSpec(shape=(1,), dtype=types.int32),
                             mb.StateTensorSpec(shape=(1, 2, 32, 32), dtype=types.fp16)], opset_version=TARGETS[target])
    def main(x, position, cache):
        before = mb.read_state(input=cache)
        begin = mb.concat(values=[np.int32([0, 0]), position, np.int32([0])], axis=0)
        end = mb.concat(values=[np.int32([1, 2]), mb.add(x=position, y=np.int32([1])), np.int32([32])], axis=0)
        after = mb.slice_update(x=before, update=x, begin=begin, end=end)
        kept = mb.coreml_update_state(state=cache, value=after)
        seen = mb.scaled_dot_product_attention(query=x, key=kept, value=kept)
        return mb.identity(x=seen, name="y")

    return convert(main, target)


class Block(torch.nn.Module):
    """A decoder block with an embedding and a head, as people bring it to coremltools."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(23, 16)
        self.norm = torch.nn.RMSNorm(16)
        self.qkv, self.out = torch.nn.Linear(16, 48, bias=False), torch.nn.Linear(16, 16, bias=False)
        self.gate, self.up, self.down = (torch.nn.Linear(16, 22, bias=False), torch.nn.Linear(16, 22, bias=False),
                                         torch.nn.Linear(22, 16, bias=False))

    def forward(self, ids):
        x = self.embedding(ids)
        q, k, v = (t.reshape(1, 6, 2, 8).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1))
        mask = torch.full((6, 6), -1e4).triu(1)
        a = torch.softmax(q @ k.transpose(-1, -2) / 8 ** 0.5 + mask, -1) @ v
        x = x + self.out(a.transpose(1, 2).reshape(1, 6, 16))
        x = x + self.down(torch.nn.functional.silu(self.gate(x)) * self.up(x))
        return x @ self.embedding.weight.T


def block(target):
    torch.manual_seed(2)
    ids = torch.zeros(1, 6, dtype=torch.int32)
    traced = torch.jit.trace(Block().eval(), ids)
    return convert(traced, target, inputs=[ct.TensorType("ids", (1, 6), dtype=np.int32)],
                   outputs=[ct.TensorType("logits", dtype=np.float16)])


def flexible(target, shape):
    """A layer whose number of rows is left open."""
    torch.manual_seed(3)
    layer = torch.nn.Sequential(torch.nn.Linear(IN, OUT), torch.nn.SiLU()).eval()
    return convert(torch.jit.trace(layer, torch.zeros(2, IN)), target, inputs=[ct.TensorType("x", shape, dtype=np.float16)],
                   outputs=[ct.TensorType("y", dtype=np.float16)])


def conditional(target):
    """One of two results, and a loop, as control flow."""
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, IN), dtype=types.fp16)], opset_version=TARGETS[target])
    def main(x):
        total = mb.reduce_sum(x=x, axes=[0, 1], keep_dims=False)
        chosen = mb.cond(pred=mb.greater(x=total, y=np.float16(0)), _true_fn=lambda: mb.relu(x=x), _false_fn=lambda: mb.silu(x=x))
        grown = mb.while_loop(_cond=lambda v: mb.less(x=mb.reduce_sum(x=v, axes=[0, 1], keep_dims=False), y=np.float16(9)),
                              _body=lambda v: mb.add(x=v, y=np.float16(1)), loop_vars=(chosen,))
        return mb.identity(x=grown, name="y")

    return convert(main, target)


def several(folder):
    """Two functions over the same weights."""
    paths = []
    for rows in (AWKWARD_OUT, OUT):
        paths.append(f"{folder}/{rows}.mlpackage")
        projection("iOS18", rows).save(paths[-1])
    description = ct.utils.MultiFunctionDescriptor()
    description.add_function(paths[0], "main", "first")
    description.add_function(paths[1], "main", "second")
    description.default_function_name = "first"
    ct.utils.save_multifunction(description, f"{folder}/several.mlpackage")
    return f"{folder}/several.mlpackage"


def value(var):
    """What coremltools' own operations decode, a compressed constant on another one included."""
    op = var.op
    if op is None or not op.op_type.startswith("constexpr_"):
        return var.val
    if op.op_type.endswith(("dequantize", "cast")) or op.opset_version < ct.target.iOS18:
        return op.materialized_val_inference()
    order = {"constexpr_lut_to_sparse": ("indices_mask", "indices_nonzero_data", "lut", "vector_axis"),
             "constexpr_sparse_blockwise_shift_scale": ("data_mask", "nonzero_data", "scale", "offset"),
             "constexpr_blockwise_shift_scale": ("data", "scale", "offset"),
             "constexpr_lut_to_dense": ("indices", "lut", "vector_axis"),
             "constexpr_sparse_to_dense": ("nonzero_data", "mask")}[op.op_type]
    found = type(op).decompress(*(None if op.inputs.get(n) is None else value(op.inputs[n]) for n in order))
    return found[op.outputs.index(var)] if len(op.outputs) > 1 else found


def decoded(path):
    """SHA-256 of the projection's weight as coremltools decodes it."""
    spec = ct.utils.load_spec(path)
    program = milproto.load(spec, specification_version=spec.specificationVersion, file_weights_dir=f"{path}/Data/com.apple.CoreML/weights")
    projection = next(op for op in program.functions["main"].operations if op.op_type == "linear")
    weight = value(projection.weight).astype("<f2")
    assert weight.shape[1] == IN
    return hashlib.sha256(np.ascontiguousarray(weight).tobytes()).hexdigest()


def make(folder):
    index = {"made_by": f"coremltools {ct.__version__}, torch {torch.__version__}, numpy {np.__version__}", "packages": {}}

    def keep(path, target, name, has_weight):
        data = pathlib.Path(path) / "Data/com.apple.CoreML"
        (folder / target).mkdir(parents=True, exist_ok=True)
        # Maps of the message in a fixed order, so that the same version writes the same bytes.
        model = ct.utils.load_spec(path).SerializeToString(deterministic=True)
        (folder / target / f"{name}.mlmodel").write_bytes(model)
        if (data / "weights/weight.bin").exists():
            shutil.copy(data / "weights/weight.bin", folder / target / f"{name}.bin")
        index["packages"][f"{target}/{name}"] = decoded(path) if has_weight else None

    with tempfile.TemporaryDirectory() as scratch:
        def save(model, target, name, has_weight=True):
            path = f"{scratch}/{target}_{name}.mlpackage"
            model.save(path)
            keep(path, target, name, has_weight)

        for target in TARGETS:
            for name, compress in schemes(target).items():
                save(compress(projection(target, OUT)), target, name)
            for name in ("linear_symmetric_int8_per_channel", "palette4"):
                save(schemes(target)[name](projection(target, AWKWARD_OUT)), target, f"{name}_23_rows")
            save(block(target), target, "block", False)
            save(schemes(target)["palette4"](block(target)), target, "block_palette4", False)
            save(flexible(target, ct.Shape((ct.RangeDim(1, 4), IN))), target, "flexible_range", False)
            save(flexible(target, ct.EnumeratedShapes([(1, IN), (4, IN)])), target, "flexible_enumerated", False)
            save(conditional(target), target, "control_flow", False)
            if target in ("iOS18", "iOS26"):
                save(vectors(target), target, "palette4_vectors")
                save(stateful(target), target, "stateful", False)
        keep(several(scratch), "iOS18", "several", False)
    (folder / "corpus.json").write_text(json.dumps(index, indent=1) + "\n")


def main():
    verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if verb == "write":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        fresh = pathlib.Path(scratch) / "fresh"
        fresh.mkdir()
        make(fresh)
        files = lambda root: {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".ts"}
        old, new = files(folder), files(fresh)
        differing = [n for n in sorted(old.keys() | new.keys()) if old.get(n) != new.get(n)]
        print(f"{len(new)} files of coremltools' own packages, {len(differing)} differ from the committed ones")
        assert not differing, differing


main()
