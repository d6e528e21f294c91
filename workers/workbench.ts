/** @file The workbench in one process: core, a host of its own, the what-if engine; what `start`, `demo` and the command line open. */
import { setInterval } from "node:timers";
import type { ApiContext } from "../server/api/trpc.ts";
import { type Core, type CoreOptions, openCore } from "../server/core.ts";
import { ensureStarter } from "../server/first-contents.ts";
import { openHubImports } from "../server/models/hub-import.ts";
import { completeFacts } from "../server/models/model-registry.ts";
import { watchRuns } from "../server/runs/watch.ts";
import { advanceSweeps } from "../server/sweeps/sweeps.ts";
import { openUploads } from "../server/transfer/upload.ts";
import { type Host, type HostOptions, startHost } from "./host.ts";
import { whatIfService } from "./what-if-service.ts";

export interface Workbench {
  readonly core: Core;
  readonly context: ApiContext;
  readonly host: Host | null;
  close(): Promise<void>;
}

const SWEEP_MS = 2_000;

/** `host` null: runs are only kept, for hosts elsewhere. */
export async function openWorkbench(options: CoreOptions, host: HostOptions | null): Promise<Workbench> {
  const core = await openCore(options);
  try {
    await completeFacts(core);
    await ensureStarter(core);
    const whatIf = whatIfService(core);
    const uploads = await openUploads({ dataDirectory: options.dataDirectory, clock: options.clock });
    const hubImports = openHubImports(core);
    const alone = core.database.kind === "embedded";
    const own = host ? await startHost(core, { ...host, alone }) : null;
    // Somebody has to notice silent hosts where none is here.
    const stopWatching = own ? () => undefined : watchRuns(core);
    const advance = setInterval(() => void advanceSweeps(core).catch(() => undefined), SWEEP_MS);
    return {
      core,
      context: { core, whatIf, uploads, hubImports },
      host: own,
      async close() {
        clearInterval(advance);
        stopWatching();
        uploads.close();
        await hubImports.close();
        await whatIf.close();
        await own?.stop();
        await core.close();
      },
    };
  } catch (thrown) {
    await core.close();
    throw thrown;
  }
}
