import { defineConfig } from "vitest/config";

// One file at a time: each may hold a whole model.
export default defineConfig({
  test: { root: import.meta.dirname, include: ["*.test.ts"], testTimeout: 600_000, pool: "forks", maxWorkers: 1 },
});
