/** @file A folder as a zip, streamed; the same folder gives the same bytes. */
import { readdir } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { ZipFile } from "yazl";

export async function sendZip(response: ServerResponse, folder: string, name: string): Promise<void> {
  const zip = new ZipFile();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((e) => e.isFile()).map((e) => relative(folder, join(e.parentPath, e.name)));
  for (const file of files.sort())
    zip.addFile(join(folder, file), `${name}/${file}`, { mtime: new Date(Date.UTC(2000, 0, 1)), mode: 0o100644 });
  zip.end();
  response.setHeader("content-type", "application/zip");
  response.setHeader("content-disposition", `attachment; filename="${name.replaceAll(/[^\w.-]/g, "-")}.zip"`);
  await pipeline(zip.outputStream, response);
}
