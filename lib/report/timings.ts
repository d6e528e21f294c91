/**
 * @file Reports as single timings of functions, the data a cost model is fitted to.
 *
 * A timing says what was run (package by hash, function by name), where, and for how long. Only
 * runs that passed parity count, on real devices, in Release, not in low power mode. We use the
 * median call, because a few slow calls come from the system and not from the model. Host time
 * (tables, choice of the token) is subtracted if the probe measured it.
 */

import type { ComputeUnits } from "../formats/coreml/compute-units.ts";
import type { ReceivedReport } from "./measured-figures.ts";
import { parityFailures, type Report } from "./report.ts";

export interface FunctionTiming {
  /** Of the report, the unit and the function: the same report gives the same ids. */
  readonly id: string;
  readonly packageSha256: string;
  readonly device: string;
  readonly chip: string | null;
  readonly computeUnits: ComputeUnits;
  readonly function: string;
  readonly role: "decode" | "prefill";
  /** Tokens a call took. */
  readonly width: number;
  readonly context: number;
  /** Positions filled before; null for a prefill, which begins empty. */
  readonly filled: number | null;
  /** Of one call, without the host's part if known. */
  readonly callMs: number;
}

/** Why no run of a report counts, in words; null if they may count. */
export function whyNotTimed({ device, tools }: Report): string | null {
  if (device.kind === "simulated") return "a simulated phone";
  if (tools.configuration !== "release") return "a Debug build";
  return device.lowPowerMode ? "low power mode" : null;
}

export function functionTimings(reports: readonly ReceivedReport[]): FunctionTiming[] {
  return reports
    .filter(({ body }) => whyNotTimed(body) === null)
    .flatMap(({ id, body }) => {
      const failed = new Set(parityFailures(body).map((f) => f.computeUnits));
      return body.runs
        .filter((run) => run.parity.length > 0 && !failed.has(run.computeUnits))
        .flatMap((run) => {
          const shared = {
            packageSha256: body.package.sha256,
            device: body.device.identifier,
            chip: body.device.chip,
            computeUnits: run.computeUnits,
          };
          const decodes = run.decode.map((d) => ({
            ...shared,
            id: `${id} ${run.computeUnits} ${d.function} ${d.filled}`,
            function: d.function,
            role: "decode" as const,
            width: 1,
            context: d.context,
            filled: d.filled,
            callMs: Math.max(0, d.perToken.median - (d.hostPerToken?.median ?? 0)),
          }));
          const prefills = run.prefill.map((p) => ({
            ...shared,
            id: `${id} ${run.computeUnits} ${p.function}`,
            function: p.function,
            role: "prefill" as const,
            width: p.width,
            context: p.context,
            filled: null,
            callMs: p.perCall.median,
          }));
          return [...decodes, ...prefills].filter((t) => t.callMs > 0);
        });
    });
}
