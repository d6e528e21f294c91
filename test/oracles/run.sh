#!/usr/bin/env bash
# The oracle tier: outside implementations, in a Python environment of its own, check what the tests hold.
# Usage: npm run test:oracles -- [PACKAGE.mlpackage …]
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.oracle-venv
bash test/oracles/prepare.sh

echo "-- transformers: logits of every family"
"$venv/bin/python" test/oracles/make_golden.py compare test/golden
echo "-- transformers: what every key of a config does"
"$venv/bin/python" test/oracles/config_keys.py compare test/golden
echo "-- transformers: checkpoints of every family, as they are written here"
checkpoints=$(mktemp -d)
node --import tsx test/oracles/write-checkpoints.ts "$checkpoints"
"$venv/bin/python" test/oracles/check_checkpoints.py "$checkpoints" 2> /dev/null
rm -rf "$checkpoints"
echo "-- transformers: the starter and its tokenizer"
node --import tsx test/oracles/starter-vectors.ts > "$venv/starter-vectors.json"
"$venv/bin/python" test/oracles/check_starter.py experiments/starter/model "$venv/starter-vectors.json"
echo "-- transformers: tokens that the files beside tokenizer.json add"
"$venv/bin/python" test/oracles/tokenizer_golden.py compare test/golden/tokenizers/golden.json
echo "-- gguf: a tensor of every type"
"$venv/bin/python" test/oracles/make_gguf.py compare test/golden/gguf
"$venv/bin/python" test/oracles/make_gguf_grids.py compare lib/formats/gguf/grid-tables.ts
"$venv/bin/python" test/oracles/make_gguf_codes.py compare test/golden/gguf
echo "-- gguf and llama.cpp: files of every architecture and type, as they are written here"
ggufs=$(mktemp -d)
node --import tsx test/oracles/write-ggufs.ts "$ggufs" 2> /dev/null
"$venv/bin/python" test/oracles/check_gguf.py "$ggufs"
bash test/oracles/llama-cpp.sh "$ggufs"
"$venv/bin/python" test/oracles/make_gguf_fitted.py compare test/golden/gguf "$venv/llama-cpp/node_modules"
rm -rf "$ggufs"
echo "-- mlx: groups in every number of bits"
"$venv/bin/python" test/oracles/make_mlx.py compare test/golden/mlx
echo "-- mlx-lm: folders of every family and number of bits, as they are written here"
folders=$(mktemp -d)
node --import tsx test/oracles/write-mlx.ts "$folders" 2> /dev/null
"$venv/bin/python" test/oracles/check_mlx.py "$folders"
rm -rf "$folders"
echo "-- torch: GPTQ of a small matrix"
"$venv/bin/python" test/oracles/gptq_golden.py compare test/golden/gptq/golden.json
echo "-- coremltools: its own packages, made anew"
"$venv/bin/python" test/oracles/make_packages.py compare test/golden/coremltools 2> /dev/null
echo "-- coremltools: packages of every weight scheme, for every target"
folder=$(mktemp -d)
node --import tsx test/oracles/write-packages.ts "$folder"
"$venv/bin/python" test/oracles/check_package.py "$folder" > "$folder/out.txt" || { cat "$folder/out.txt"; exit 1; }
echo "$(wc -l < "$folder/out.txt") packages agree"
"$venv/bin/python" test/oracles/check_package.py "$folder/pipeline" > "$folder/out.txt" || { cat "$folder/out.txt"; exit 1; }
echo "a pipeline of $(wc -l < "$folder/out.txt") packages agrees"
for system in "$folder/targets" "$folder"/targets/*.functions; do
  "$venv/bin/python" test/oracles/check_package.py "$system" > "$folder/out.txt" || { cat "$folder/out.txt"; exit 1; }
  echo "$(basename "$system"): $(wc -l < "$folder/out.txt") decoders agree"
done
echo "-- coremltools: every op"
mkdir "$folder/ops"
node --import tsx test/oracles/write-ops.ts "$folder/ops"
for package in "$folder"/ops/*.mlpackage; do
  "$venv/bin/python" test/oracles/check_package.py "$package" > "$folder/out.json" || { cat "$folder/out.json"; exit 1; }
  echo "$(basename "$package") agrees"
done
echo "-- coremltools: random programs, for every target"
mkdir "$folder/random"
node --import tsx test/oracles/write-random.ts "$folder/random" 500
"$venv/bin/python" test/oracles/check_random.py "$folder/random" 2> /dev/null
node --import tsx test/oracles/compare-random.ts "$folder/random"
for package in "$@"; do
  "$venv/bin/python" test/oracles/check_package.py "$package" > "$folder/out.json" || { cat "$folder/out.json"; exit 1; }
  echo "$(basename "$package") agrees"
done
rm -rf "$folder"
echo "-- the iPhone probe: a Swift grammar, a Swift compiler, readers of projects, property lists and QR codes"
bash test/oracles/swift.sh "$venv"
echo "-- libtensorflow: every op, whole decoders and their gradients on the native TensorFlow.js"
tfjs_node=$(bash test/oracles/build-tfjs-node.sh)
ESPALIER_TFJS_NODE="$tfjs_node" npx vitest run test/engines lib/engines/tensorflow
echo "-- moto: artifacts in an S3 bucket"
bash test/oracles/s3.sh "$venv"
echo "oracles agree"
