import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: [
      "lib/**/*.test.ts",
      "experiments/**/*.test.ts",
      "server/**/*.test.ts",
      "workers/**/*.test.ts",
      "app/**/*.test.ts",
      "test/**/*.test.ts",
    ],
    exclude: [
      "test/oracles/**",
      "test/faults/**",
      "test/browser/**",
      "test/reference/**",
      "test/webgpu/**",
      "test/real/**",
      "node_modules/**",
    ],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
  },
});
