/** @file `npm run bench`: the benches of compute and workbench; `npm run bench -- real …`: work on a released model. */
import { spawnSync } from "node:child_process";

const [part, ...rest] = process.argv.slice(2);
const runs =
  part === "real"
    ? [["npx", "tsx", "bench/real/run.ts", ...rest]]
    : [
        ["npm", "run", "-s", "bench:compute"],
        ["npm", "run", "-s", "bench:workbench"],
      ];
for (const [command = "", ...args] of runs) {
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
