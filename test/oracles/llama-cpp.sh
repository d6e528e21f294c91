#!/usr/bin/env bash
# llama.cpp as node-llama-cpp brings it, in a folder of its own. Usage: llama-cpp.sh FOLDER_OF_GGUF_FILES
set -euo pipefail
here=.oracle-venv/llama-cpp
version=3.21.1
machine=$(node -p 'process.platform.replace("darwin","mac") + "-" + process.arch')
[ "$machine" = mac-arm64 ] && machine=mac-arm64-metal
if [ ! -e "$here/node_modules/@node-llama-cpp/$machine" ]; then
  mkdir -p "$here"
  echo '{"private": true}' > "$here/package.json"
  (cd "$here" && npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional "node-llama-cpp@$version" "@node-llama-cpp/$machine@$version")
fi
node test/oracles/llama-cpp.mjs "$1" "$here/node_modules"
