/** Real `espalier` processes for tests that kill them, and what tests wait for. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { resolve } from "node:path";
import { type Client, httpClient } from "../../server/api/client.ts";

const root = resolve(import.meta.dirname, "../..");
/** Long enough for a machine that does ten other things; nothing here measures time. */
const PATIENCE_MS = 240_000;
const started = new Set<ChildProcess>();

type Answer<T> = Exclude<T, null | false | undefined>;
const isAnswer = <T>(value: T): value is Answer<T> => value !== null && value !== false && value !== undefined;

/** Asks again until the answer is one; says `what` did not come about otherwise. */
export async function until<T>(what: string, ask: () => Promise<T> | T): Promise<Answer<T>> {
  const end = performance.now() + PATIENCE_MS;
  let last: unknown = null;
  while (performance.now() < end) {
    try {
      const answer = await ask();
      if (isAnswer(answer)) return answer;
      last = null;
    } catch (thrown) {
      last = thrown;
    }
    await new Promise((go) => setTimeout(go, 50));
  }
  throw new Error(`it did not come about that ${what}`, { cause: last });
}

export interface Process {
  readonly pid: number;
  /** Standard error so far. */
  said(): string;
  isAlive(): boolean;
  /** Resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  send(signal: NodeJS.Signals): void;
}

export function espalier(args: readonly string[], env: Readonly<Record<string, string>>): Process {
  const { DATABASE_URL: _d, ARTIFACTS_URL: _a, ESPALIER_TOKEN: _t, ...rest } = process.env;
  const child = spawn(process.execPath, ["bin/espalier.js", ...args], {
    cwd: root,
    env: { ...rest, NO_COLOR: "1", ESPALIER_THREADS: "1", ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  started.add(child);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const gone = new Promise<void>((over) => child.on("close", () => over()));
  return {
    pid: child.pid ?? 0,
    said: () => said,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    send: (signal) => void child.kill(signal),
    async kill(signal = "SIGKILL") {
      child.kill(signal);
      await gone;
      started.delete(child);
    },
  };
}

/** What the first group of the pattern matches, once it is said; throws when the process ends before. */
async function saying(process_: Process, pattern: RegExp): Promise<string> {
  const ended = "ended";
  const said = await until(
    `${pattern} is said`,
    () => pattern.exec(process_.said())?.[1] ?? (!process_.isAlive() && ended),
  );
  if (said === ended) throw new Error(`it ended: ${process_.said()}`);
  return said;
}

export interface Server extends Process {
  readonly url: string;
  readonly client: Client;
}

/** `espalier start`, without pages unless they are asked for; resolves when it says that it is ready. */
export async function server(
  env: Readonly<Record<string, string>>,
  options: { host?: boolean; port?: number; pages?: boolean } = {},
): Promise<Server> {
  const without = [...(options.host === false ? ["--no-host"] : []), ...(options.pages ? [] : ["--no-pages"])];
  const process_ = espalier(["start", "--port", String(options.port ?? 0), ...without], env);
  const url = await saying(process_, /ready after [\d.]+ s: (http:\/\/[^\s/]+)/);
  return { ...process_, url, client: httpClient(url, env.ESPALIER_TOKEN ?? null) };
}

/** `espalier worker`, once it takes runs. */
export async function worker(env: Readonly<Record<string, string>>): Promise<Process & { readonly hostId: string }> {
  const process_ = espalier(["worker"], env);
  const hostId = await saying(process_, /(host_\w+) takes runs/);
  return { ...process_, hostId };
}

/** Process ids of the tasks of a host. */
export function tasksOf(pid: number): number[] {
  try {
    return execFileSync("pgrep", ["-P", String(pid), "-f", "workers/task.ts"], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map(Number);
  } catch {
    return [];
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Kills what a test left. */
export async function endAll(): Promise<void> {
  for (const child of started) {
    for (const task of tasksOf(child.pid ?? 0)) process.kill(task, "SIGKILL");
    child.kill("SIGKILL");
  }
  started.clear();
}
