#!/usr/bin/env bash
# The real tier: released models, read from their own files, against what outside implementations make of them.
# Usage: npm run test:real -- [TEST FILE …]
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/real/prepare.sh
npx vitest run --config test/real/vitest.config.ts "$@"
