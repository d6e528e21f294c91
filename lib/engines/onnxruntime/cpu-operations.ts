/**
 * @file Which operations of a session ran on the CPU, read from the profile that ONNX Runtime writes of a run.
 *
 * Only that profile says which provider ran a node. A session to look at is opened with `options` and asked once,
 * after its first run; then profiling ends.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { InferenceSession } from "./onnxruntime-node.ts";

const profile = z.array(
  z.looseObject({
    cat: z.string(),
    name: z.string(),
    args: z.looseObject({ provider: z.string().optional(), op_name: z.string().optional() }),
  }),
);

export interface ProfiledRun {
  readonly options: InferenceSession.SessionOptions;
  /** Number of operations by ONNX type that the run before this call gave to the CPU. */
  cpuOperations(session: InferenceSession): Promise<Map<string, number>>;
  /** Removes what lies on the disk. */
  close(): Promise<void>;
}

export async function profiledRun(): Promise<ProfiledRun> {
  const folder = await mkdtemp(join(tmpdir(), "espalier-run-"));
  return {
    options: { enableProfiling: true, profileFilePrefix: join(folder, "run") },
    async cpuOperations(session) {
      session.endProfiling();
      const found = new Map<string, number>();
      for (const file of await readdir(folder)) {
        const events = profile.parse(JSON.parse(await readFile(join(folder, file), "utf8")));
        for (const { cat, args } of events) {
          if (cat !== "Node" || args.provider !== "CPUExecutionProvider" || args.op_name === undefined) continue;
          found.set(args.op_name, (found.get(args.op_name) ?? 0) + 1);
        }
      }
      return found;
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
