#!/usr/bin/env bash
# Inside the toolchain's folder: type-checks the whole probe against stubs, and builds the part that needs no Apple system.
set -euo pipefail
out=modules
mkdir -p "$out"
common=(-swift-version 5 -I "$out")
for name in ObjectiveC Darwin os CryptoKit CoreML UIKit VisionKit SwiftUI XCTestOnApple; do
  swiftc -suppress-warnings -emit-module -parse-as-library -module-name "$name" "${common[@]}" \
    -emit-module-path "$out/$name.swiftmodule" "stubs/$name.swift"
done
# On Apple's systems Foundation brings these along.
implied=(-Xfrontend -import-module -Xfrontend FoundationNetworking -Xfrontend -import-module -Xfrontend ObjectiveC)
probe=(-warnings-as-errors -parse-as-library -module-name Probe "${common[@]}" "${implied[@]}")
swiftc -emit-module -enable-testing -D PROBE_RELEASE "${probe[@]}" -emit-module-path "$out/Probe.swiftmodule" Sources/*.swift
swiftc -typecheck "${probe[@]}" Sources/*.swift
swiftc -typecheck -warnings-as-errors -module-name ProbeTests "${common[@]}" -Xfrontend -import-module -Xfrontend XCTestOnApple Tests/*.swift
echo "type-checked"
pure=()
for name in PackageInterface HostTables EmbeddingFile GoldenVectors Report BpeTokenizer PairingLink; do pure+=("Sources/$name.swift"); done
swiftc -O -swift-version 5 -module-name HostCheck -o host-check main.swift "${pure[@]}"
echo "built"
