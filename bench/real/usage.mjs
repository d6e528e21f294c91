// Preloaded into a measured process: writes what it used, when it ends, into the file that ESPALIER_USAGE names.
import { writeFileSync } from "node:fs";

process.on("exit", () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const usage = { processorSeconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: 1024 * maxRSS };
  if (process.env.ESPALIER_USAGE) writeFileSync(process.env.ESPALIER_USAGE, JSON.stringify(usage));
});
