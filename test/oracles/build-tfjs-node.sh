#!/usr/bin/env bash
# Builds the native TensorFlow.js backend where its binary host cannot be reached.
#
# The install script of @tensorflow/tfjs-node downloads libtensorflow and a compiled addon from a storage bucket.
# Everything else it needs is on npm and PyPI, so this script
#   1. installs the npm package without its scripts, with the N-API headers from `node-api-headers`;
#   2. takes libtensorflow and its C headers out of PyPI's tensorflow-cpu wheel, whatever Python is here
#      (the C API that the addon uses is the same in 2.9, for which it was written, and in 2.15);
#   3. compiles the addon from the package's own source with g++ and checks that it computes.
#
#   bash test/oracles/build-tfjs-node.sh     build unless it is installed or built, smoke test, print its path
#   ESPALIER_TFJS_NODE="$(bash test/oracles/build-tfjs-node.sh)" npx vitest run test/engines
#
# Standard output is the path alone; progress and errors go to standard error. Cache: .oracle-venv/tfjs-node, or
# the folder named by ESPALIER_TFJS_NODE_CACHE (about 900 MB; download 210 MB). Needs Linux on x86-64 with
# node, npm, pip and g++.
set -euo pipefail

tfjs_version=4.22.0
headers_version=1.5.0
tensorflow_version=2.15.1
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cache="${ESPALIER_TFJS_NODE_CACHE:-$root/.oracle-venv/tfjs-node}"
package="$cache/node_modules/@tensorflow/tfjs-node"
addon="$package/lib/napi-v8/tfjs_binding.node"
libraries="$package/deps/lib"
stamp="$cache/built-$tfjs_version-$tensorflow_version"

step="starting"
say() { printf 'tfjs-node: %s\n' "$*" >&2; }
trap 'code=$?; [ "$code" -eq 0 ] || say "stopped while $step (exit $code); the output above says why"' EXIT
stop() { say "$1"; exit 1; }

smoke() {
  step="running the built addon"
  node - "$package" >&2 <<'JS'
const util = require("node:util");
// Removed in Node 23; the package still calls them.
util.isNullOrUndefined ??= (v) => v === null || v === undefined;
util.isArray ??= Array.isArray;
process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
const tf = require(process.argv[2]);
const assert = require("node:assert");
assert.strictEqual(tf.getBackend(), "tensorflow");
const x = tf.tensor2d([[1, 2, 3], [4, 5, 6]]);
const w = tf.tensor2d([[1, -1], [0.5, 2], [-3, 0.25]]);
assert.deepStrictEqual([...tf.matMul(x, w).dataSync()], [-7, 3.75, -11.5, 7.5]);
// d/dw Σ (x w)² = 2 xᵀ (x w)
const gradient = tf.grad((v) => tf.sum(tf.square(tf.matMul(x, v))))(w);
assert.deepStrictEqual([...gradient.dataSync()], [-106, 67.5, -143, 90, -180, 112.5]);
console.error(`tfjs-node: backend ${tf.getBackend()}, tfjs-node ${tf.version["tfjs-node"]}, ` +
  `libtensorflow ${tf.backend().binding.TF_Version ?? "unknown"}: matMul and its gradient are right`);
JS
}

installed="$root/node_modules/@tensorflow/tfjs-node"
if compgen -G "$installed/lib/napi-v*/tfjs_binding.node" >/dev/null; then
  say "npm installed it with its binary"
  package="$installed"
  smoke
  echo "$package"
  exit 0
fi

if [ -f "$stamp" ] && [ -f "$addon" ]; then
  say "already built in $cache"
  smoke
  echo "$package"
  exit 0
fi

step="looking for the tools"
[ "$(uname -sm)" = "Linux x86_64" ] || stop "builds on Linux x86-64 only, this is $(uname -sm); there \`npm install\` fetches the binary"
for tool in node npm python3 g++; do command -v "$tool" >/dev/null || stop "$tool is missing"; done
python3 -m pip --version >/dev/null 2>&1 || stop "pip is missing (python3 -m pip)"
mkdir -p "$cache"

step="installing @tensorflow/tfjs-node@$tfjs_version from npm without its scripts"
say "$step"
[ -f "$cache/package.json" ] || echo '{ "private": true }' >"$cache/package.json"
npm install --prefix "$cache" --ignore-scripts --no-audit --no-fund --loglevel=error \
  "@tensorflow/tfjs-node@$tfjs_version" "node-api-headers@$headers_version" >&2

if [ ! -f "$libraries/libtensorflow_cc.so.2" ] || [ ! -f "$package/deps/include/tensorflow/c/eager/c_api.h" ]; then
  step="downloading the tensorflow-cpu $tensorflow_version wheel from PyPI"
  say "$step"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux2014_x86_64 --implementation cp --python-version 3.11 \
    --dest "$cache" "tensorflow-cpu==$tensorflow_version" >&2

  step="unpacking libtensorflow and its headers"
  say "$step"
  python3 - "$cache" "$package/deps" <<'PY'
import pathlib, shutil, sys, zipfile

cache, deps = map(pathlib.Path, sys.argv[1:])
wheel = next(cache.glob("tensorflow_cpu-*.whl"))
headers = ("tensorflow/include/tensorflow/", "tensorflow/include/tsl/", "tensorflow/include/xla/")
found = 0
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name in ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2"):
            target, found = deps / "lib" / pathlib.Path(name).name, found + 1
        elif name.startswith(headers) and name.endswith(".h"):
            target = deps / "include" / name.removeprefix("tensorflow/include/")
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        with archive.open(name) as source, open(partial, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        partial.rename(target)
if found != 2:
    sys.exit(f"tfjs-node: {wheel.name} holds {found} of libtensorflow_cc.so.2 and libtensorflow_framework.so.2")
wheel.unlink()
PY
fi

step="compiling the addon"
say "$step"
mkdir -p "$(dirname "$addon")"
# As binding.gyp does, with the names the wheel gives the libraries.
g++ -std=c++17 -O2 -fPIC -shared -DNAPI_VERSION=8 -DBUILDING_NODE_EXTENSION -w \
  -I "$cache/node_modules/node-api-headers/include" -I "$package" -I "$package/deps/include" \
  "$package/binding/tfjs_backend.cc" "$package/binding/tfjs_binding.cc" -o "$addon.partial" \
  -L "$libraries" -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 \
  -Wl,-rpath,'$ORIGIN/../../deps/lib' -Wl,-z,noexecstack >&2
mv "$addon.partial" "$addon"

smoke
touch "$stamp"
echo "$package"
