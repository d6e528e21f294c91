/**
 * @file A teacher's predictions for a sequence, kept on disk under a name made of everything that
 * decides them.
 *
 * One safetensors file a sequence: ids, log-probabilities and the mass of all other tokens, 8 k + 4
 * bytes a token. A repeated sequence, in a later epoch or after a restart, is read from disk
 * instead of computed.
 */
import { createHash } from "node:crypto";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { asBytes, openSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import type { TopTokens } from "./top-tokens.ts";

export interface TeacherFiles {
  /** The teacher's predictions for each sequence of ids; `ask` is called once with all that are
   * missing. */
  of(
    sequences: readonly Int32Array[],
    ask: (missing: readonly Int32Array[]) => Promise<readonly TopTokens[]>,
  ): Promise<TopTokens[]>;
}

/** `identity` names teacher, temperature and k. */
export function teacherFiles(folder: string, identity: string, top: number): TeacherFiles {
  const pathOf = (ids: Int32Array): string =>
    join(folder, `${createHash("sha256").update(identity).update(asBytes(ids)).digest("hex")}.safetensors`);
  return {
    async of(sequences, ask) {
      const found = await Promise.all(sequences.map((ids) => read(pathOf(ids), top)));
      const absent = sequences.filter((_, i) => found[i] === null);
      if (absent.length > 0) {
        const said = await ask(absent);
        await mkdir(folder, { recursive: true });
        for (const [i, ids] of absent.entries()) {
          const own = said[i];
          if (!own) continue;
          await write(pathOf(ids), own);
          found[sequences.indexOf(ids)] = own;
        }
      }
      return found.flatMap((own) => (own ? [own] : []));
    },
  };
}

async function read(path: string, top: number): Promise<TopTokens | null> {
  if (!(await stat(path).catch(() => null))) return null;
  const file = await openSafetensors(path);
  try {
    const ids = Int32Array.from(await file.readFloat32("ids"));
    return { top, ids, logP: await file.readFloat32("logP"), rest: await file.readFloat32("rest") };
  } finally {
    await file.close();
  }
}

async function write(path: string, { top, ids, logP, rest }: TopTokens): Promise<void> {
  const rows = rest.length;
  const f32 = (name: string, values: Float32Array, shape: number[]) => ({
    name,
    dtype: "F32" as const,
    shape,
    bytes: () => asBytes(values),
  });
  // Ids of any vocabulary below 2^24 are exact in fp32.
  await writeSafetensors(path, [
    f32("ids", Float32Array.from(ids), [rows, top]),
    f32("logP", logP, [rows, top]),
    f32("rest", rest, [rows]),
  ]);
}
