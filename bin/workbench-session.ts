/** @file How a command reaches the workbench: the server that has the data if one runs, else a workbench of its own. */
import type { EngineName } from "../lib/engines/create.ts";
import { type Client, httpClient, localClient } from "../server/api/client.ts";
import { lockOwner } from "../server/db/directory-lock.ts";
import { openWorkbench } from "../workers/workbench.ts";
import { clock, configuredEngine, countFrom, dataDirectory, taskMemoryBytes } from "./environment.ts";

export interface WorkbenchSession {
  readonly client: Client;
  /** Whether runs are computed by this very process. */
  readonly isOwn: boolean;
  close(): Promise<void>;
}

export interface WorkbenchSettings {
  /** Tasks are computed here while the command waits. */
  readonly computes: boolean;
  readonly threads?: number | undefined;
  readonly engine?: EngineName | undefined;
}

const environment = (name: string): string | undefined => process.env[name] || undefined;

export const coreOptions = (engine?: EngineName) => ({
  dataDirectory: dataDirectory(),
  clock,
  databaseUrl: environment("DATABASE_URL"),
  artifactsUrl: environment("ARTIFACTS_URL"),
  token: environment("ESPALIER_TOKEN"),
  engine: engine ?? configuredEngine(),
});

export const hostOptions = () => ({
  slots: countFrom("ESPALIER_SLOTS"),
  threadsPerTask: countFrom("ESPALIER_THREADS"),
  memoryLimitBytes: taskMemoryBytes(),
});

export async function openWorkbenchSession({
  computes,
  threads,
  engine,
}: WorkbenchSettings): Promise<WorkbenchSession> {
  const address = environment("ESPALIER_URL");
  if (address) return remote(address, environment("ESPALIER_TOKEN") ?? null);
  const owner = environment("DATABASE_URL") ? null : lockOwner(dataDirectory());
  if (owner?.address) return remote(owner.address, owner.token);
  const host = computes ? { ...hostOptions(), ...(threads === undefined ? {} : { threadsPerTask: threads }) } : null;
  const workbench = await openWorkbench(coreOptions(engine), host);
  return { client: localClient(workbench.context), isOwn: true, close: () => workbench.close() };
}

const remote = (address: string, token: string | null): WorkbenchSession => ({
  client: httpClient(address, token),
  isOwn: false,
  close: async () => undefined,
});
