/**
 * @file The one HTTP server: access first, then the API, downloads, and at last the pages.
 *
 * Next serves the pages; they call the API like any other client and share no module with it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { nodeHTTPRequestHandler } from "@trpc/server/adapters/node-http";
import { EspalierError } from "../lib/errors.ts";
import { type AccessPolicy, guard } from "./access/access.ts";
import { statusOf } from "./access/answer.ts";
import { applySecurityHeaders } from "./access/security-headers.ts";
import { appRouter } from "./api/router.ts";
import type { ApiContext } from "./api/trpc.ts";
import { artifactEndpoint } from "./artifacts/artifact-endpoint.ts";
import { failureOf } from "./db/failures.ts";
import { modelFolder } from "./models/model-registry.ts";
import { getPackage, packageFolder } from "./packages/packages.ts";
import { type ReportEndpoint, reportEndpoint } from "./reports/report-endpoint.ts";
import { sendZip } from "./transfer/zip.ts";

export type PageHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export interface ServerOptions {
  readonly context: ApiContext;
  readonly pages: PageHandler;
  readonly address: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly token: string | null;
  readonly hosts: readonly string[];
  readonly isDevelopment: boolean;
}

const MAX_BODY_BYTES = 96_000_000;
const MAX_ARTIFACT_BYTES = 64e9;

/** Resolves once it listens. Throws `input/invalid` when the port is taken. */
export async function startServer(options: ServerOptions): Promise<{ server: Server; url: string }> {
  let policy: AccessPolicy = { port: options.port, token: options.token, hosts: options.hosts };
  const reports = reportEndpoint(options.context.core);
  const server = createServer((request, response) => {
    handle(request, response, options, policy, reports).catch((thrown: unknown) => {
      const error = failureOf(thrown);
      if (!response.headersSent) response.writeHead(statusOf(error), { "content-type": "text/plain" });
      response.end(error.message);
    });
  });
  // A large artifact takes longer than Node's five minutes; each body has its own limit on silence.
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === "EADDRINUSE"
          ? new EspalierError("input/invalid", `port ${options.port} is taken`, {
              hint: "Choose another one with PORT.",
              cause,
            })
          : cause,
      ),
    );
    server.listen(options.port, options.address, resolve);
  });
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : options.port;
  policy = { ...policy, port };
  const name = options.address === "127.0.0.1" ? "localhost" : options.address;
  return { server, url: `http://${name}:${port}` };
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
  policy: AccessPolicy,
  reports: ReportEndpoint,
): Promise<void> {
  applySecurityHeaders(request, response, options);
  // Phones have only the code of a pairing, which this asks for itself.
  if (await reports(request, response, policy)) return;
  if (!guard(request, response, policy)) return;
  if (await options.context.uploads?.handle(request, response)) return;
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname.startsWith("/api/trpc/")) {
    await nodeHTTPRequestHandler({
      req: request,
      res: response,
      router: appRouter,
      path: url.pathname.slice("/api/trpc/".length),
      createContext: async () => ({
        ...options.context,
        listening: { address: options.address, port: policy.port, hosts: options.hosts },
      }),
      maxBodySize: MAX_BODY_BYTES,
    });
    return;
  }
  // Who may ask at all was settled above; hosts elsewhere carry the token.
  const artifacts = artifactEndpoint(options.context.core.artifacts, {
    authorize: () => true,
    maxBytes: MAX_ARTIFACT_BYTES,
  });
  if (await artifacts(request, response)) return;
  const download = /^\/api\/packages\/(pkg_\w+)\.zip$/.exec(url.pathname);
  if (download && request.method === "GET") {
    const row = await getPackage(options.context.core, download[1] ?? "");
    await sendZip(response, await packageFolder(options.context.core, row.id), row.name);
    return;
  }
  const checkpoint = /^\/api\/models\/([\w.-]+)\.zip$/.exec(url.pathname);
  if (checkpoint && request.method === "GET") {
    const id = checkpoint[1] ?? "";
    await sendZip(response, await modelFolder(options.context.core, id), id);
    return;
  }
  if (url.pathname.startsWith("/api/")) {
    response.writeHead(404, { "content-type": "text/plain" });
    response.end("there is no page at this address");
    return;
  }
  await options.pages(request, response);
}
