/**
 * @file What the exporters share that may have to quantize again: importances of a calibration text, a count of
 * tensors by type, and a verdict that counts the cost.
 */

import { EspalierError } from "../../../lib/errors.ts";
import type { Importances } from "../../../lib/export/gguf/gguf-model.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import type { MakerContext } from "../../definition.ts";
import type { ModelFiles } from "../../model-session.ts";
import { errorWeightsOf } from "../../statistics.ts";
import { textSequences } from "../../text.ts";
import type { ExportCard, StoredType } from "./card.ts";
import type { ExportConfig } from "./config.ts";
import { type Quality, qualityOf } from "./quality.ts";
import { fp32Bytes } from "./source.ts";
import { parityFaults } from "./verdict.ts";

/** Tokens that importances are means over. */
const CALIBRATION_TOKENS = 12_288;

/** Mean squares of what every matrix is fed on the calibration text; none without one. */
export async function importancesOf(
  config: ExportConfig,
  model: ModelFiles,
  context: MakerContext,
): Promise<Importances> {
  const { calibration: text, separator, bos } = config;
  if (text === undefined) return new Map();
  const modelBytes = fp32Bytes(model.checkpoint.architecture);
  if (modelBytes > config.streamAboveBytes)
    throw new EspalierError(
      "input/invalid",
      `--calibration holds the model in memory, which takes ${modelBytes} bytes`,
      {
        hint: "Raise --stream-above-bytes if there is room, or leave --calibration out.",
      },
    );
  const open = await context.models.open(config.model);
  const { sequences } = await textSequences({ text, separator, bos, maxTokens: CALIBRATION_TOKENS }, open);
  const found = await errorWeightsOf("activation", open, sequences, context, (s) => context.onShare(0.1 * s));
  context.models.release(config.model);
  return new Map([...found].flatMap(([name, w]) => (w.columnWeights ? [[name, w.columnWeights] as const] : [])));
}

/** Faithful and good, for a file whose own codes are judged by their KL to the model: it is a loss, not a fault. */
export function verdictOfCodes(
  model: ModelFiles,
  maxKl: number,
  found: { parity: ExportCard["parity"]; isQuantized: boolean; faults?: readonly string[] },
): Pick<ExportCard, "ready" | "status" | "reasons" | "faithful"> & { good: Quality } {
  const { parity, isQuantized } = found;
  const faults = [...(found.faults ?? []), ...(isQuantized ? [] : parityFaults({ parity, headroom: null }))];
  const own = qualityOf(model.checkpoint.config, maxKl);
  const good = isQuantized ? withCost(own, parity.meanKl) : own;
  const losses = good.ok === true ? [] : [`${good.ok === null ? "not known to be good" : "not good"}: ${good.reason}`];
  const ready = faults.length === 0 && losses.length === 0;
  return {
    ready,
    status: ready ? "ready" : "not-ready",
    reasons: [...faults, ...losses],
    faithful: { ok: faults.length === 0, reasons: faults },
    good,
  };
}

/** The model's earlier loss, plus the cost of quantizing it to the types of the file. */
function withCost(own: Quality, kl: number): Quality {
  const cost = `quantizing to the types of the file costs a KL of ${kl.toPrecision(3)} nats per token`;
  if (own.ok === null) return { ...own, reason: `${own.reason}; ${cost}` };
  const before = own.origin?.loss?.kl.mean ?? 0;
  const ok = before + kl <= own.maxKl;
  const sum = before > 0 ? `${own.reason}; ${cost}, ${(before + kl).toPrecision(3)} together` : cost;
  return { ...own, ok, reason: `${sum}, ${ok ? "within" : "above"} the limit of ${own.maxKl}` };
}

/** Tensors counted by how they are stored, the most bytes first. */
export function byType(
  tensors: readonly (Pick<StoredType, "type" | "fidelity" | "sizeBytes"> & { readonly shape: readonly number[] })[],
): StoredType[] {
  const found = new Map<string, StoredType>();
  for (const { type, fidelity, shape, sizeBytes } of tensors) {
    const at = found.get(`${type} ${fidelity}`) ?? { type, fidelity, tensors: 0, weights: 0, sizeBytes: 0 };
    found.set(`${type} ${fidelity}`, {
      ...at,
      tensors: at.tensors + 1,
      weights: at.weights + elementCount(shape),
      sizeBytes: at.sizeBytes + sizeBytes,
    });
  }
  return [...found.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
}
