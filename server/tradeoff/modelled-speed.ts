/** @file How fast the cost model expects a checkpoint to decode on a phone; never a measurement. */
import { type ArchitectureChoice, modelledTokensPerSecond } from "../../lib/cost/architecture-workload.ts";
import { deviceById } from "../../lib/cost/devices.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { EspalierError } from "../../lib/errors.ts";
import { openCheckpoint } from "../../lib/formats/hugging-face/checkpoint.ts";
import type { Core } from "../core.ts";
import { type Model, modelFolder } from "../models/models.ts";

export interface ModelledSpeed {
  readonly device: string;
  readonly context: number;
  readonly tokensPerSecond: number;
}

const DEVICE = "a17-pro";
const CONTEXT = 256;

/** By hash: a checkpoint never changes. */
const architectures = new Map<string, Promise<DecoderArchitecture>>();

function architectureOf(core: Core, model: Model): Promise<DecoderArchitecture> {
  const read = async (): Promise<DecoderArchitecture> => {
    const checkpoint = await openCheckpoint(await modelFolder(core, model.id));
    await checkpoint.close();
    return checkpoint.architecture;
  };
  const found = architectures.get(model.hash) ?? read();
  architectures.set(model.hash, found);
  found.catch(() => architectures.delete(model.hash));
  return found;
}

/** How the last quantization stored its weights, in the words of the cost model; null for blocks, which the engine does not take. */
export function storedAs(
  madeBy: readonly { readonly kind: string; readonly config: Readonly<Record<string, unknown>> }[],
): Pick<ArchitectureChoice, "scheme" | "channelsPerTable"> | null {
  const last = madeBy.findLast((s) => s.kind === "quantize");
  if (!last) return { scheme: "fp16" };
  if (last.config.groupSize !== undefined && last.config.scheme === "affine") return null;
  if (last.config.scheme === "affine") return { scheme: "int8" };
  const rows = last.config.rowsPerTable;
  return { scheme: "palette", channelsPerTable: typeof rows === "number" ? rows : null };
}

export async function modelledSpeed(
  core: Core,
  model: Model,
  madeBy: Parameters<typeof storedAs>[0],
  bitsPerWeight: number,
): Promise<ModelledSpeed | null> {
  const stored = storedAs(madeBy);
  if (!stored) return null;
  const device = deviceById(DEVICE);
  if (!device) throw new EspalierError("internal/invariant", `internal: the cost model does not know ${DEVICE}`);
  const arch = await architectureOf(core, model);
  const context = Math.min(CONTEXT, arch.maxPositions);
  const choice: ArchitectureChoice = { bitsPerWeight, context, ...stored };
  return { device: device.name, context, tokensPerSecond: modelledTokensPerSecond(arch, choice, device) };
}
