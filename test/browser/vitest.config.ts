import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.test.ts"],
    testTimeout: 900_000,
    hookTimeout: 300_000,
    // Every file has a workbench and a browser of its own, and mostly waits.
    maxWorkers: 2,
  },
});
