/**
 * @file Statistics of a model on a text (input moments, Fisher information), kept as one safetensors file a key.
 *
 * They are gathered once and shared by quantize, sensitivity, sweeps and what-if. A file is named by the SHA-256 of its key, which
 * names the model, the statistic and the very tokens; what cannot be read is gathered again.
 */
import { createHash } from "node:crypto";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { asBytes, openSafetensors, writeSafetensors } from "../lib/formats/safetensors.ts";

export interface ArrayStore {
  /** Flat fp32 arrays by name; null when nothing is stored. */
  get(key: string): Promise<Map<string, Float32Array> | null>;
  put(key: string, arrays: ReadonlyMap<string, Float32Array>): Promise<void>;
}

export function arrayFiles(directory: string): ArrayStore {
  const pathOf = (key: string): string =>
    join(directory, `${createHash("sha256").update(key).digest("hex")}.safetensors`);
  return {
    async get(key) {
      const path = pathOf(key);
      if (!(await stat(path).catch(() => null))) return null;
      try {
        const file = await openSafetensors(path);
        try {
          const arrays = new Map<string, Float32Array>();
          for (const name of file.tensors.keys()) arrays.set(name, await file.readFloat32(name));
          return arrays;
        } finally {
          await file.close();
        }
      } catch {
        return null;
      }
    },
    async put(key, arrays) {
      await mkdir(directory, { recursive: true });
      const path = pathOf(key);
      const partial = `${path}.${process.pid}.partial`;
      try {
        await writeSafetensors(
          partial,
          [...arrays].map(([name, values]) => ({
            name,
            dtype: "F32" as const,
            shape: [values.length],
            bytes: async () => asBytes(values),
          })),
        );
        await rename(partial, path);
      } catch (thrown) {
        await rm(partial, { force: true });
        throw thrown;
      }
    },
  };
}

/** For one process. */
export function memoryArrays(): ArrayStore {
  const known = new Map<string, Map<string, Float32Array>>();
  return {
    get: async (key) => known.get(key) ?? null,
    put: async (key, arrays) => {
      known.set(key, new Map(arrays));
    },
  };
}
