#!/usr/bin/env bash
# Measures {{package}} on an iPhone that is connected to this Mac: finds the phone, builds, runs everything unattended, pulls the
# report, and posts it to the workbench when it is given a pairing link.
#
#   TEAM=ABCDE12345 bash probe.sh [--minutes N] [--units a,b] [--device ID] [--link 'espalier-probe://pair?…'] [--out report.json]
#
# TEAM is your development team, as Xcode shows it under Signing. Needs Xcode 16 or later and a phone with iOS 18 or later, in
# developer mode, unlocked, and not in low power mode. Without --link it prints where the report lies; then:
# espalier report import report.json
set -euo pipefail
cd "$(dirname "$0")"

minutes=0
units=cpuAndNeuralEngine,cpuOnly
device=
link=
out=report.json
while [ $# -gt 0 ]; do
  case "$1" in
    --minutes) minutes=$2; shift 2 ;;
    --units) units=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    --link) link=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) echo "probe.sh: unknown option $1" >&2; exit 2 ;;
  esac
done
if [ -z "${TEAM:-}" ]; then
  echo "probe.sh: set TEAM to your development team (Xcode, Settings, Accounts)" >&2
  exit 2
fi
if ! command -v xcodebuild >/dev/null; then
  echo "probe.sh: this needs a Mac with Xcode; there is no xcodebuild here" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# xcodebuild and devicectl name a phone differently: the first by its hardware's id (udid), the second takes either.
if [ -z "$device" ]; then
  xcrun devicectl list devices --json-output "$work/devices.json" >/dev/null
  device=$(python3 - "$work/devices.json" <<'PY'
import json, sys
found = [
    d["hardwareProperties"]["udid"]
    for d in json.load(open(sys.argv[1]))["result"]["devices"]
    if d.get("hardwareProperties", {}).get("platform") == "iOS"
    and d.get("connectionProperties", {}).get("pairingState") == "paired"
    and d["hardwareProperties"].get("udid")
]
print(found[0] if found else "")
PY
)
fi
if [ -z "$device" ]; then
  echo "probe.sh: no iPhone is paired with this Mac; connect one, unlock it and trust this computer, or name it with --device" >&2
  exit 1
fi
bundle="dev.espalier.probe.$TEAM"
echo "device $device, app $bundle"

# An app of more than a gigabyte is slow to install and may be refused: such a package is sent to the app's documents.
size=$(du -sk "../{{package}}" | cut -f1)
payload=bundle
if [ "$size" -gt 1000000 ]; then payload=push; fi

build() {
  PROBE_PAYLOAD=$payload xcodebuild "$1" \
    -project Probe.xcodeproj -scheme Probe -configuration Release \
    -destination "platform=iOS,id=$device" -derivedDataPath "$work/build" \
    -allowProvisioningUpdates -allowProvisioningDeviceRegistration DEVELOPMENT_TEAM="$TEAM" \
    "${@:2}"
}
build build-for-testing -quiet
if [ "$payload" = push ]; then
  app=$(find "$work/build/Build/Products" -name Probe.app -maxdepth 2 | head -1)
  xcrun devicectl device install app --device "$device" "$app"
  xcrun devicectl device copy to --device "$device" --domain-type appDataContainer --domain-identifier "$bundle" \
    --source "../{{package}}" --destination "Documents/Payload/{{package}}"
fi

# xcodebuild hands to the tests what begins with TEST_RUNNER_, without that beginning.
status=0
TEST_RUNNER_PROBE_MINUTES=$minutes TEST_RUNNER_PROBE_UNITS=$units \
  build test-without-building -resultBundlePath "$work/result.xcresult" || status=$?

pulled="$work/pulled-report.json"
xcrun devicectl device copy from --device "$device" --domain-type appDataContainer --domain-identifier "$bundle" \
  --source Documents/report.json --destination "$pulled"
cp "$pulled" "$out"
echo "report in $(cd "$(dirname "$out")" && pwd)/$(basename "$out")"

if [ -n "$link" ]; then
  # espalier-probe://pair?server=…&token=…&package=…
  read -r server token < <(python3 - "$link" <<'PY'
import sys
from urllib.parse import parse_qs, urlsplit
query = parse_qs(urlsplit(sys.argv[1]).query)
print(query["server"][0], query["token"][0])
PY
)
  # The token goes in through a file, so that it is in no list of processes.
  printf 'header = "Authorization: Bearer %s"\n' "$token" >"$work/curl.conf"
  curl --silent --show-error --fail-with-body --config "$work/curl.conf" \
    --header 'Content-Type: application/json' --data-binary "@$out" "$server/api/reports"
  echo
fi
exit "$status"
