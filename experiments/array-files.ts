/**
 * @file Statistics of a model on a text (input moments, Fisher information), kept as one safetensors file each.
 *
 * They are gathered once and shared by quantize, sensitivity and what-if. A file is named as a unit is, by the model,
 * the statistic and the tokens; a file that cannot be read is computed again.
 */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { asBytes, openSafetensors, writeSafetensors } from "../lib/formats/safetensors.ts";
import { type UnitName, unitHash } from "./unit-name.ts";

export interface ArrayStore {
  /** Flat fp32 arrays by name; null when nothing is stored. */
  get(name: UnitName): Promise<Map<string, Float32Array> | null>;
  put(name: UnitName, arrays: ReadonlyMap<string, Float32Array>): Promise<void>;
}

export function arrayFiles(directory: string): ArrayStore {
  const pathOf = (name: UnitName): string => join(directory, `${unitHash(name)}.safetensors`);
  return {
    async get(name) {
      const path = pathOf(name);
      if (!(await stat(path).catch(() => null))) return null;
      try {
        const file = await openSafetensors(path);
        try {
          const arrays = new Map<string, Float32Array>();
          for (const tensor of file.tensors.keys()) arrays.set(tensor, await file.readFloat32(tensor));
          return arrays;
        } finally {
          await file.close();
        }
      } catch {
        return null;
      }
    },
    async put(name, arrays) {
      await mkdir(directory, { recursive: true });
      const path = pathOf(name);
      const partial = `${path}.${process.pid}.partial`;
      try {
        await writeSafetensors(
          partial,
          [...arrays].map(([tensor, values]) => ({
            name: tensor,
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
    get: async (name) => known.get(unitHash(name)) ?? null,
    put: async (name, arrays) => {
      known.set(unitHash(name), new Map(arrays));
    },
  };
}
