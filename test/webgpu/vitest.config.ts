import { defineConfig } from "vitest/config";

/** Engines beside a WebGPU one, in one process after the other: a device is not shared. */
export default defineConfig({
  test: {
    include: [
      "test/webgpu/*.test.ts",
      "test/engines/conformance.test.ts",
      "test/engines/executable.test.ts",
      "test/engines/decoders.test.ts",
    ],
    // Of the suites for every engine, this one's part.
    testNamePattern: "webgpu",
    env: { ESPALIER_TEST_WEBGPU: "1" },
    testTimeout: 300_000,
    hookTimeout: 300_000,
    pool: "forks",
    maxWorkers: 1,
    fileParallelism: false,
  },
});
