#!/usr/bin/env bash
# The WebGPU engine over whatever Vulkan driver there is; over Chromium's software driver unless one is named.
set -euo pipefail
cd "$(dirname "$0")/../.."
driver=/usr/lib/chromium/vk_swiftshader_icd.json
if [ "$(uname)" = Linux ] && [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && [ -f "$driver" ]; then
  export VK_ICD_FILENAMES="$driver"
fi
npx vitest run --config test/webgpu/vitest.config.ts
