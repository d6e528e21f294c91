#!/usr/bin/env bash
# The Python environment that outside implementations run in, unless it is there.
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
