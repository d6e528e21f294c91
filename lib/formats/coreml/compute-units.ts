/** @file Core ML's own names for where a package may run. `cpuOnly` is left out: nothing here is meant for it. */
export const computeUnits = ["cpuAndNeuralEngine", "cpuAndGPU", "all"] as const;
export type ComputeUnits = (typeof computeUnits)[number];
