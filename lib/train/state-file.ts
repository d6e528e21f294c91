/**
 * @file A training state on disk: weights, both moments, step and everything else that decides the
 * next step.
 *
 * One safetensors file written atomically; fp32 throughout, so that a resumed run continues bit for bit.
 */
import type { z } from "zod";
import { EspalierError } from "../errors.ts";
import { asBytes, openSafetensors, type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { float32Data, type Tensor } from "../mil/tensor.ts";
import type { AdamWState } from "./adamw.ts";

/** Writes the trained tensors, by name, and `state`; `extra` is any JSON to store with them. */
export async function writeTrainingState(
  path: string,
  trained: ReadonlyMap<string, Tensor>,
  state: AdamWState,
  extra: unknown,
): Promise<void> {
  const f32 = (name: string, values: Float32Array, shape: readonly number[]): TensorToWrite => ({
    name,
    dtype: "F32",
    shape,
    bytes: () => asBytes(values),
  });
  const tensors = [...trained].flatMap(([name, t]) => {
    const first = state.first.get(name);
    const second = state.second.get(name);
    return [
      f32(`weight.${name}`, float32Data(t), t.shape),
      ...(first ? [f32(`first.${name}`, first, t.shape)] : []),
      ...(second ? [f32(`second.${name}`, second, t.shape)] : []),
    ];
  });
  await writeSafetensors(path, tensors, { step: String(state.step), extra: JSON.stringify(extra) });
}

/** Restores the trained tensors in place and returns state and extra. Throws when the file belongs
 * to another run. */
export async function readTrainingState<T>(
  path: string,
  trained: ReadonlyMap<string, Tensor>,
  extra: z.ZodType<T>,
): Promise<{ state: AdamWState; extra: T }> {
  const file = await openSafetensors(path);
  try {
    const state: AdamWState = { step: Number(file.metadata.step), first: new Map(), second: new Map() };
    for (const [name, t] of trained) {
      const stored = await file.readFloat32(`weight.${name}`);
      if (stored.length !== t.data.length) {
        throw new EspalierError(
          "model/shape-mismatch",
          `${path}: weight ${name} has ${stored.length} values, the model ${t.data.length}`,
          {
            hint: "The checkpoint belongs to another run; remove it to start over.",
          },
        );
      }
      float32Data(t).set(stored);
      for (const [part, slots] of [
        ["first", state.first],
        ["second", state.second],
      ] as const) {
        if (file.tensors.has(`${part}.${name}`)) slots.set(name, await file.readFloat32(`${part}.${name}`));
      }
    }
    return { state, extra: extra.parse(JSON.parse(file.metadata.extra ?? "null")) };
  } finally {
    await file.close();
  }
}
