/** @file Starts the child process of a task; TypeScript runs in it as it does here. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** `heapMegabytes` bounds JavaScript's heap; what native code takes is watched by whoever starts it. */
export function forkTask(
  file: "task.ts" | "what-if-task.ts",
  options: { heapMegabytes: number; args?: readonly string[] },
): ChildProcess {
  return fork(fileURLToPath(new URL(`./${file}`, import.meta.url)), options.args ?? [], {
    execArgv: ["--import", import.meta.resolve("tsx"), `--max-old-space-size=${options.heapMegabytes}`],
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: withoutSecrets(process.env),
  });
}

/** A task computes; it needs neither the database nor keys. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { DATABASE_URL: _url, ESPALIER_TOKEN: _token, ARTIFACTS_URL: _artifacts, ...rest } = env;
  for (const name of Object.keys(rest)) if (name.startsWith("AWS_")) delete rest[name];
  return rest;
}
