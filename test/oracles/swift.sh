#!/usr/bin/env bash
# The iPhone probe as far as it can be checked off a Mac: an export is read by independent parsers, its Swift is type-checked, and the
# part that needs no Apple system is run against tables, tokens and reports that other code made.
# Usage: test/oracles/swift.sh VENV
set -euo pipefail
venv=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ESPALIER_DATA="$work/data" node bin/espalier.js export starter --out "$work/export" --contexts 64,128 --prefill 32 --check-tokens 16 --json >"$work/card.json" 2>"$work/log" ||
  { cat "$work/log"; exit 1; }
node --import tsx "$here/swift/pairing-code.ts" >"$work/pairing.json"
"$venv/bin/python" "$here/check_probe.py" "$work/export" "$work/pairing.json"

mkdir "$work/swift"
cp -r "$work/export/Probe/Sources" "$work/export/Probe/Tests" "$here/swift/stubs" "$here/swift/main.swift" "$here/swift/check.sh" "$work/swift"
cp "$work/export/Probe/Payload/probe.json" "$work/export/Probe/Payload/golden.json" "$work/swift"
node --import tsx "$here/swift/host-check.ts" make "$work/swift"
status=0
bash "$here/swift/toolchain.sh" "$work/swift" bash check.sh || status=$?
if [ "$status" = 3 ]; then
  echo "no Swift compiler here: the probe was parsed, not compiled"
  exit 0
fi
[ "$status" = 0 ] || exit "$status"
bash "$here/swift/toolchain.sh" "$work/swift" ./host-check
node --import tsx "$here/swift/host-check.ts" compare "$work/swift"
