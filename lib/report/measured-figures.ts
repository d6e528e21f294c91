/**
 * @file The figures of a package that reports replace: what a device measured instead of what was modelled.
 *
 * Per device and compute unit the newest report counts; older ones stay in the list. A run that
 * failed parity did not compute what the package should, so its figures are shown with a flag and
 * never replace a modelled one. The same holds for simulated devices: they test the loop and say
 * nothing about a phone.
 */
import type { ComputeUnits } from "../formats/coreml/compute-units.ts";
import { type Milliseconds, parityFailures, type Report } from "./report.ts";

export interface MeasuredFigures {
  readonly reportId: string;
  readonly device: string;
  readonly chip: string | null;
  readonly systemVersion: string;
  readonly computeUnits: ComputeUnits;
  /** Milliseconds per token by the context of the function. */
  readonly decode: readonly { readonly context: number; readonly perToken: Milliseconds }[];
  readonly prefill: readonly { readonly context: number; readonly width: number; readonly tokensPerSecond: number }[];
  readonly firstLoadMs: number | null;
  readonly warmLoadMs: number | null;
  readonly peakBytes: number | null;
  /** Share of the estimated cost of all functions that Core ML would rather run on the Neural Engine; null without a plan. */
  readonly neuralEngineShare: number | null;
  /** Tokens per second in the last window of the sustained run over those in the first; null when there was none. */
  readonly sustainedShare: number | null;
  /** Cases that failed; empty where the package computed what it should. */
  readonly failedCases: readonly string[];
  readonly failures: readonly string[];
  /** Whether it replaces the modelled figure. */
  readonly replacesModelled: boolean;
}

export interface ReceivedReport {
  readonly id: string;
  readonly receivedAtMs: number;
  readonly body: Report;
}

export function measuredFigures(reports: readonly ReceivedReport[]): MeasuredFigures[] {
  const newest = new Map<string, MeasuredFigures>();
  // The oldest first, so that later ones replace them.
  for (const { id, body } of [...reports].sort((a, b) => a.receivedAtMs - b.receivedAtMs)) {
    const failed = parityFailures(body);
    for (const run of body.runs) {
      const own = failed.find((f) => f.computeUnits === run.computeUnits);
      const proven = run.parity.length > 0 && !own;
      const largest = (values: readonly (number | null)[]): number | null => {
        const known = values.filter((v) => v !== null);
        return known.length > 0 ? Math.max(...known) : null;
      };
      newest.set(`${body.device.identifier} ${run.computeUnits}`, {
        reportId: id,
        device: body.device.identifier,
        chip: body.device.chip,
        systemVersion: body.device.systemVersion,
        computeUnits: run.computeUnits,
        decode: run.decode.map(({ context, perToken }) => ({ context, perToken })),
        prefill: run.prefill.map(({ context, width, tokensPerSecond }) => ({ context, width, tokensPerSecond })),
        firstLoadMs: largest(run.loads.map((l) => l.firstMs)),
        warmLoadMs: largest(run.loads.map((l) => l.warmMs)),
        peakBytes: run.memory?.peakBytes ?? null,
        neuralEngineShare: neuralEngineShare(run.placement),
        sustainedShare: sustainedShare(run.sustained?.windows ?? []),
        failedCases: own?.cases ?? [],
        failures: own?.failures ?? [],
        replacesModelled: proven && body.device.kind !== "simulated" && body.tools.configuration === "release",
      });
    }
  }
  return [...newest.values()];
}

/** Σ cost on the Neural Engine / Σ cost; constants have no cost and do not count. Null where no operation has one. */
export function neuralEngineShare(placement: Report["runs"][number]["placement"]): number | null {
  const costs = placement.flatMap((f) => f.operations).filter((o) => o.cost !== null && o.preferred !== "unknown");
  const total = costs.reduce((n, o) => n + (o.cost ?? 0), 0);
  if (total <= 0) return null;
  return costs.filter((o) => o.preferred === "neuralEngine").reduce((n, o) => n + (o.cost ?? 0), 0) / total;
}

function sustainedShare(windows: readonly { tokensPerSecond: number }[]): number | null {
  const [first, last] = [windows[0], windows.at(-1)];
  return first && last && windows.length > 1 && first.tokensPerSecond > 0
    ? last.tokensPerSecond / first.tokensPerSecond
    : null;
}
