/** @file `espalier start`: the workbench in the browser. `espalier worker`: a host for a shared database. */
import { spawn } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { EspalierError } from "../../lib/errors.ts";
import { checkBinding } from "../../server/access/access.ts";
import { redactor, secretsOf } from "../../server/access/secrets.ts";
import { openCore } from "../../server/core.ts";
import { type PageHandler, startServer } from "../../server/http.ts";
import { startHost } from "../../workers/host.ts";
import { openWorkbench } from "../../workers/workbench.ts";
import { coreOptions, hostOptions } from "../workbench-session.ts";
import { engineFlag, engineHelp } from "./experiment-command.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

export function addStart(program: Command, signal: AbortSignal): void {
  program
    .command("start")
    .description("The workbench in the browser, worker host included")
    .option("--port <integer>", "port to listen on [default: PORT or 3000]")
    .option("--dev", "compile pages when they are opened, for work on the pages")
    .option("--engine <name>", engineHelp)
    .option("--no-host", "start no worker here; workers on other machines compute")
    .option("--no-pages", "answer the API and keep runs, without pages for browsers")
    .action(async (options: { port?: string; dev?: boolean; engine?: string; host: boolean; pages: boolean }) => {
      const port = Number(options.port ?? process.env.PORT ?? 3000);
      if (!Number.isInteger(port) || port < 0 || port > 65535)
        throw new EspalierError("input/invalid", `${options.port ?? process.env.PORT} is not a port number`);
      const address = process.env.HOST || "127.0.0.1";
      const core = coreOptions(engineFlag(options.engine));
      checkBinding(address, core.token);
      const isDevelopment = options.dev ?? false;
      if (options.pages && !isDevelopment) await buildPages();
      const started = performance.now();
      // Pages and database get ready side by side.
      const pages = options.pages ? nextPages(isDevelopment) : Promise.resolve(noPages);
      pages.catch(() => undefined);
      const workbench = await openWorkbench(core, options.host ? { ...hostOptions(), log: say } : null);
      try {
        const { server, url } = await startServer({
          context: workbench.context,
          pages: await pages,
          address,
          port,
          token: core.token ?? null,
          hosts: (process.env.ESPALIER_HOSTS ?? "").split(",").filter((h) => h !== ""),
          isDevelopment,
        });
        workbench.core.database.lock?.announce(url, core.token ?? null);
        say(
          `Espalier is ready after ${((performance.now() - started) / 1000).toFixed(1)} s: ${url}${core.token ? "/?token=(your token)" : ""}`,
        );
        say(
          `data in ${core.dataDirectory}${workbench.core.database.kind === "postgres" ? ", rows in the shared database" : ""}`,
        );
        await until(signal);
        server.closeAllConnections();
        server.close();
      } finally {
        await workbench.close();
      }
      process.exit(0);
    });

  program
    .command("worker")
    .description("Compute runs of a shared database (DATABASE_URL) on this machine")
    .option("--engine <name>", engineHelp)
    .option("--slots <integer>", "tasks at a time [default: 1]")
    .action(async (options: { engine?: string; slots?: string }) => {
      const core = coreOptions(engineFlag(options.engine));
      if (!core.databaseUrl)
        throw new EspalierError(
          "input/invalid",
          "a worker needs DATABASE_URL, the Postgres it shares with the server",
          {
            hint: "Without one, `espalier start` computes by itself.",
          },
        );
      const opened = await openCore(core);
      const slots = options.slots === undefined ? {} : { slots: Number(options.slots) };
      const host = await startHost(opened, { ...hostOptions(), ...slots, log: say });
      say(`${host.id} takes runs`);
      await until(signal);
      await host.stop();
      await opened.close();
    });
}

const redact = redactor([...secretsOf(process.env), process.env.ESPALIER_TOKEN]);
const say = (line: string): void => void process.stderr.write(`${redact(line)}\n`);

const until = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });

/** Builds the pages when a source is newer than the last build. */
async function buildPages(): Promise<void> {
  const built = await stat(join(root, ".next", "BUILD_ID")).catch(() => null);
  const sources = await readdir(join(root, "app"), { recursive: true, withFileTypes: true });
  let newest = 0;
  for (const f of sources) if (f.isFile()) newest = Math.max(newest, (await stat(join(f.parentPath, f.name))).mtimeMs);
  if (built && built.mtimeMs > newest) return;
  say("building the pages (only once)");
  const next = createRequire(import.meta.url).resolve("next/dist/bin/next");
  const code = await new Promise<number>((resolve) => {
    const child = spawn(process.execPath, [next, "build"], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" },
    });
    child.on("exit", (c) => resolve(c ?? 1));
  });
  if (code !== 0)
    throw new EspalierError("engine/failed", "the pages could not be built", {
      hint: "Run `npm run build` to see why.",
    });
}

async function nextPages(isDevelopment: boolean): Promise<PageHandler> {
  const { default: next } = await import("next");
  const app = next({ dev: isDevelopment, dir: root });
  await app.prepare();
  const handler = app.getRequestHandler();
  return (request, response) => handler(request, response);
}

const noPages: PageHandler = async (_request, response) => {
  response.writeHead(404, { "content-type": "text/plain" });
  response.end("this server was started without pages");
};
