/** @file Sends a checkpoint, the files of a folder or one .gguf file, to the workbench: one request each, as one batch. */
import { isCheckpointFile } from "../../lib/checkpoint/checkpoint-files.ts";

export interface FolderFile {
  readonly name: string;
  readonly file: File;
}

/** Files at the top of the folder only: those of a checkpoint, or its one .gguf file. Throws when there is neither. */
export function checkpointFiles(all: readonly File[]): { name: string; files: FolderFile[] } {
  const parts = all.map((file) => ({ path: file.webkitRelativePath.split("/"), file }));
  const top = parts.filter(({ path }) => path.length === 2).map(({ path, file }) => ({ name: path[1] ?? "", file }));
  const name = parts[0]?.path[0] ?? "model";
  if (top.some((f) => f.name === "config.json")) return { name, files: top.filter((f) => isCheckpointFile(f.name)) };
  const ggufs = top.filter((f) => isGguf(f.name));
  if (ggufs.length > 1) throw new Error(`${name} holds ${ggufs.length} .gguf files; choose one of them`);
  if (ggufs[0]) return { name, files: [ggufFile(ggufs[0].file)] };
  throw new Error(
    `${name} holds neither config.json nor a .gguf file; choose the folder that holds the checkpoint’s files`,
  );
}

const isGguf = (name: string): boolean => /\.gguf$/i.test(name);

/** A .gguf file under a name that can be sent. Throws for another file. */
export function ggufFile(file: File): FolderFile {
  if (!isGguf(file.name)) throw new Error(`${file.name} is not a .gguf file`);
  return {
    name: file.name
      .replaceAll(/[^\w.-]+/g, "-")
      .replace(/^[-.]+/, "")
      .slice(-100),
    file,
  };
}

/** Resolves to the batch. `onShare` hears what part of all bytes has gone. */
export async function sendFolder(files: readonly FolderFile[], onShare: (share: number) => void): Promise<string> {
  const total = files.reduce((n, f) => n + f.file.size, 0);
  let sent = 0;
  let batch: string | null = null;
  for (const { name, file } of files) {
    const before = sent;
    batch = await sendFile(name, file, batch, (bytes) => onShare((before + bytes) / Math.max(1, total)));
    sent += file.size;
  }
  if (batch === null) throw new Error("there was no file to send");
  return batch;
}

// fetch tells nothing of how much has gone.
const sendFile = (name: string, file: File, batch: string | null, onBytes: (bytes: number) => void): Promise<string> =>
  new Promise((done, failed) => {
    const query = new URLSearchParams({ name, ...(batch === null ? {} : { batch }) });
    const request = new XMLHttpRequest();
    request.open("POST", `/api/upload?${query}`);
    request.setRequestHeader("x-espalier", "page");
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (e) => onBytes(e.loaded);
    request.onerror = () => failed(new Error(`${name} could not be sent; the connection broke`));
    request.onload = () => {
      const found = /"batch":"([\w-]+)"/.exec(request.responseText)?.[1];
      if (request.status === 201 && found !== undefined) done(found);
      else failed(new Error(request.responseText.trim() || `${name} was refused with status ${request.status}`));
    };
    request.send(file);
  });
