/**
 * @file Which artifact store an address means.
 *
 * None: the data directory. `file:///shared`: a folder that machines share. `http(s)://host:port`: a server's own endpoint.
 * `s3://bucket/prefix?endpoint=…&region=…`: an S3-compatible bucket.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EspalierError } from "../../lib/errors.ts";
import { removeStale } from "./digest.ts";
import { diskStore } from "./disk.ts";
import { httpStore } from "./http-store.ts";
import { openS3Store } from "./s3.ts";
import type { ArtifactStore } from "./store.ts";

const hint = "Use file:///a/shared/folder, http://server:port or s3://bucket/prefix?endpoint=…&region=….";

const invalid = (reason: string, cause?: unknown): EspalierError =>
  new EspalierError("input/invalid", `ARTIFACTS_URL ${reason}`, { hint, cause });

/** Throws `input/invalid` for an address that means no store, and `access/denied` for a server without a token. */
export async function openArtifactStore(
  url: string | undefined,
  options: { readonly dataDirectory: string; readonly token?: string | undefined },
): Promise<ArtifactStore> {
  const { dataDirectory, token } = options;
  if (url === undefined || url === "") return diskStore(join(dataDirectory, "artifacts"));
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (thrown) {
    throw invalid("is not an address", thrown);
  }
  if (parsed.username !== "" || parsed.password !== "")
    throw new EspalierError("input/invalid", "ARTIFACTS_URL holds a user name or password", {
      hint: "Set ESPALIER_TOKEN, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, instead.",
    });
  const temporaryDirectory = join(dataDirectory, "incoming");
  switch (parsed.protocol) {
    case "file:":
      return diskStore(folderOf(parsed));
    case "http:":
    case "https:":
      if (parsed.pathname !== "/" || parsed.search !== "" || parsed.hash !== "")
        throw invalid(`names more than a server: ${parsed.origin}${parsed.pathname}`);
      if (token === undefined)
        throw new EspalierError("access/denied", `the artifact store at ${parsed.origin} needs a token`, {
          hint: "Set ESPALIER_TOKEN to the token of that server.",
        });
      await removeStale(temporaryDirectory, Date.now());
      return httpStore({ url: parsed.origin, token, temporaryDirectory });
    case "s3:": {
      const unknown = [...parsed.searchParams.keys()].filter((k) => k !== "endpoint" && k !== "region");
      if (unknown.length > 0) throw invalid(`has "${unknown[0]}", which is not a setting of a bucket`);
      if (parsed.hostname === "") throw invalid("names no bucket");
      const endpoint = parsed.searchParams.get("endpoint") ?? undefined;
      if (endpoint !== undefined && !/^https?:\/\/[^/]/.test(endpoint))
        throw invalid(`has the endpoint "${endpoint}", which is not an http(s) address`);
      await removeStale(temporaryDirectory, Date.now());
      return openS3Store({
        bucket: parsed.hostname,
        prefix: parsed.pathname.replaceAll(/^\/+|\/+$/g, ""),
        endpoint,
        region:
          parsed.searchParams.get("region") ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? "us-east-1",
        temporaryDirectory,
      });
    }
    default:
      throw invalid(`begins with ${parsed.protocol}, which is not a kind of store`);
  }
}

function folderOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (thrown) {
    throw invalid("names no folder of this machine", thrown);
  }
}
