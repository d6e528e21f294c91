/**
 * @file Where a package overflows fp16: the first result beyond 65504 on a text, by operation and
 * layer.
 *
 * On a device every later value is infinite or NaN, so the logits do not show where it began.
 */
import { throwIfCancelled } from "../cancel.ts";
import type { Engine } from "../engines/engine.ts";
import { watchedEngine } from "../engines/watched.ts";
import { EspalierError } from "../errors.ts";
import { FLOAT16_MAX } from "./neural-engine/scaling.ts";
import { openPackage } from "./opened-package.ts";

export interface Overflow {
  /** Name of the operation. */
  readonly operation: string;
  /** Null outside the layers. */
  readonly layer: number | null;
  /** Of the text's tokens. */
  readonly position: number;
  /** As a multiple of fp16's largest number. */
  readonly times: number;
}

/** Runs the package at `path` over `ids`, token by token; null where every value fits. */
export async function firstOverflow(
  engine: Engine,
  path: string,
  ids: readonly number[],
  signal?: AbortSignal,
): Promise<Overflow | null> {
  let found: Overflow | null = null;
  let position = 0;
  const watched = watchedEngine(engine, (peaks) => {
    const beyond = peaks.find((p) => p.value > FLOAT16_MAX);
    if (found || !beyond) return;
    const { name } = beyond.operation;
    const layer = /^L(\d+)_/.exec(name)?.[1];
    found = {
      operation: name,
      layer: layer === undefined ? null : Number(layer),
      position,
      times: beyond.value / FLOAT16_MAX,
    };
  });
  const model = await openPackage(watched, path, "widen");
  const session = model.open();
  try {
    for (; position < Math.min(ids.length, model.context) && !found; position++) {
      throwIfCancelled(signal);
      await session.feed([ids[position] as number], position);
    }
  } finally {
    session.dispose();
    await model.dispose();
  }
  return found;
}

/** The error thrown when the package at `path` ran over `ids`; for numbers that are not finite, it
 * names where they overflowed fp16. */
export async function overflowError(
  thrown: unknown,
  engine: Engine,
  path: string,
  ids: readonly number[],
  signal?: AbortSignal,
): Promise<unknown> {
  if (!(thrown instanceof EspalierError) || thrown.code !== "numeric/non-finite") return thrown;
  const found = await firstOverflow(engine, path, ids, signal);
  if (found === null) return thrown;
  const { operation, layer, position, times } = found;
  const where = layer === null ? "outside the layers" : `in layer ${layer}`;
  return new EspalierError(
    "numeric/non-finite",
    `a value overflows fp16 ${where}, ${operation}: ${times.toPrecision(3)} times its largest number, at position ${position}`,
    {
      hint: "Export it with --layout neural-engine, which scales what comes near fp16's largest number.",
      cause: thrown,
    },
  );
}
