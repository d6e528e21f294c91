/** @file Core ML's own names for where a package may run. */
export const computeUnits = ["cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all"] as const;
export type ComputeUnits = (typeof computeUnits)[number];

/** What a package can be meant for: never the CPU alone, on which a probe runs it for comparison. */
export const packageUnits = ["cpuAndNeuralEngine", "cpuAndGPU", "all"] as const satisfies readonly ComputeUnits[];
export type PackageUnits = (typeof packageUnits)[number];
