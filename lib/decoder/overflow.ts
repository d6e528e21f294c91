/**
 * @file Where a package overflows fp16: the first result beyond 65504 on a text, by operation and
 * layer.
 *
 * On a device every later value is infinite or NaN, so the logits do not show where it began.
 */

import { throwIfCancelled } from "../cancel.ts";
import { numberAt } from "../elements.ts";
import type { Engine } from "../engines/engine.ts";
import { type Peak, watchedEngine } from "../engines/watched.ts";
import { EspalierError } from "../errors.ts";
import { FLOAT16_MAX } from "./neural-engine/scaling.ts";
import { openPackage, openStaged } from "./opened-package.ts";

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

/** The first result of a call that fp16 cannot hold. */
function beyond(peaks: readonly Peak[], position: number): Overflow | null {
  const peak = peaks.find((p) => p.value > FLOAT16_MAX);
  if (!peak) return null;
  const { name } = peak.operation;
  const layer = /^L(\d+)_/.exec(name)?.[1];
  return {
    operation: name,
    layer: layer === undefined ? null : Number(layer),
    position,
    times: peak.value / FLOAT16_MAX,
  };
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
    found ??= beyond(peaks, position);
  });
  const model = await openPackage(watched, path, "widen");
  const session = model.open();
  try {
    for (; position < Math.min(ids.length, model.context) && !found; position++) {
      throwIfCancelled(signal);
      await session.feed([numberAt(ids, position)], position);
    }
  } finally {
    session.dispose();
    await model.dispose();
  }
  return found;
}

/** The same for a package larger than memory, `limitBytes` of weights at a time: the first of the first layers that overflow. */
export async function firstStagedOverflow(
  engine: Engine,
  path: string,
  ids: readonly number[],
  limitBytes: number,
  signal?: AbortSignal,
): Promise<Overflow | null> {
  let found: Overflow | null = null;
  const enough = new AbortController();
  const watched = watchedEngine(engine, (peaks, call) => {
    found ??= beyond(peaks, call);
    if (found) enough.abort();
  });
  const model = await openStaged(watched, path, limitBytes, "widen");
  const session = model.open();
  try {
    for (const [position, id] of ids.slice(0, model.context).entries()) await session.feed([id], position);
    await model.execute(AbortSignal.any([enough.signal, ...(signal ? [signal] : [])]));
  } catch (thrown) {
    if (!found) throw thrown;
  } finally {
    session.dispose();
    await model.dispose();
  }
  throwIfCancelled(signal);
  return found;
}

/** The error of a package in the plain layout whose numbers are not finite; with what `find` finds, it names where they overflowed fp16. */
export async function overflowError(thrown: unknown, find: () => Promise<Overflow | null>): Promise<unknown> {
  if (!(thrown instanceof EspalierError) || thrown.code !== "numeric/non-finite") return thrown;
  const found = await find();
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
