#!/usr/bin/env bash
# What the oracle tier needs, unless it is there: the Python environment, the native TensorFlow.js backend, a Swift toolchain where
# one can be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.oracle-venv
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
if ! cmp -s test/oracles/requirements.txt "$venv/requirements.txt"; then
  "$venv/bin/pip" install -q -r test/oracles/requirements.txt
  cp test/oracles/requirements.txt "$venv/requirements.txt"
fi
bash test/oracles/build-tfjs-node.sh >/dev/null
bash test/oracles/swift/toolchain.sh "$(mktemp -d)" true || [ "$?" = 3 ]
