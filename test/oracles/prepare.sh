#!/usr/bin/env bash
# What the oracle tier needs, unless it is there: the Python environment, the native TensorFlow.js backend, a Swift toolchain where
# one can be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/oracles/python.sh
bash test/oracles/build-tfjs-node.sh >/dev/null
bash test/oracles/swift/toolchain.sh "$(mktemp -d)" true || [ "$?" = 3 ]
