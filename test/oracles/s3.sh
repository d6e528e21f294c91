#!/usr/bin/env bash
# Starts an S3-compatible server (moto), makes a bucket, and runs the artifact store's test suite on it.
# Usage: test/oracles/s3.sh VENV
set -euo pipefail
venv=$1
log=$(mktemp)
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" > "$log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null || true; rm -f "$log"' EXIT
make_bucket="fetch('http://127.0.0.1:$port/espalier', { method: 'PUT' }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
for try in $(seq 1 60); do
  if node -e "$make_bucket"; then break; fi
  if [ "$try" = 60 ] || ! kill -0 "$server" 2> /dev/null; then
    cat "$log"
    echo "the S3 server did not start"
    exit 1
  fi
  sleep 0.5
done
AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true \
  ARTIFACTS_TEST_S3="s3://espalier?endpoint=http://127.0.0.1:$port&region=us-east-1" \
  npx vitest run server/artifacts/store.test.ts
