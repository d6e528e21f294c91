import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The journey computes a whole study: begun last, everything would wait for it. */
class JourneyFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isJourney = (f: TestSpecification): number => Number(f.moduleId.includes("journey"));
    return [...files].sort((a, b) => isJourney(b) - isJourney(a));
  }
}

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.test.ts"],
    testTimeout: 900_000,
    hookTimeout: 300_000,
    // Pages that share two cores with a run answer late.
    expect: { poll: { timeout: 10_000 } },
    // Every file has a workbench and a browser of its own, and mostly waits.
    maxWorkers: 2,
    sequence: { sequencer: JourneyFirst },
  },
});
