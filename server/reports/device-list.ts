/** @file Phones that have reported: what came from each, what failed on it, and how far the cost model is fitted to its chip. */
import { desc } from "drizzle-orm";
import { deviceOfChip } from "../../lib/cost/devices.ts";
import type { ComputeUnits } from "../../lib/formats/coreml/compute-units.ts";
import { parityFailures } from "../../lib/report/report.ts";
import type { Core } from "../core.ts";
import { devices, packages, reports } from "../db/schema.ts";
import { type ChipFit, type ChipTimings, chipFits, timingsOfChip } from "./fits.ts";
import { type Device, typedReport } from "./reports.ts";

export interface ReportOfDevice {
  readonly id: string;
  readonly receivedAt: Date;
  readonly system: string;
  readonly package: { readonly id: string; readonly name: string } | null;
  readonly runs: readonly {
    readonly computeUnits: ComputeUnits;
    /** Cases that agreed with the golden vectors, and all. */
    readonly passed: number;
    readonly cases: number;
    readonly failedCases: readonly string[];
    readonly failures: readonly string[];
    /** Of the largest context. */
    readonly decode: { readonly context: number; readonly tokensPerSecond: number } | null;
  }[];
}

export interface ListedDevice extends Device {
  /** Newest first. */
  readonly reports: readonly ReportOfDevice[];
  /** From the cost model's table; null for a chip it does not know, and for a simulated phone. */
  readonly costChip: { readonly id: string; readonly name: string } | null;
}

/** Newest first. */
export async function listDevices(core: Core): Promise<ListedDevice[]> {
  const rows = await core.db.select().from(devices).orderBy(desc(devices.lastSeenAt));
  const all = (await core.db.select().from(reports).orderBy(desc(reports.receivedAt)).limit(2000)).map(typedReport);
  const named = await core.db
    .select({ id: packages.id, name: packages.name, sha256: packages.packageSha256 })
    .from(packages)
    .orderBy(desc(packages.createdAt));
  return rows.map((row) => {
    const chip = row.kind === "simulated" ? undefined : deviceOfChip(row.chip);
    return {
      ...row,
      costChip: chip ? { id: chip.id, name: chip.name } : null,
      reports: all
        .filter((r) => r.deviceId === row.id)
        .map(({ id, receivedAt, packageSha256, body }) => {
          const failed = parityFailures(body);
          const of = named.find((p) => p.sha256 === packageSha256);
          return {
            id,
            receivedAt,
            system: `${body.device.system} ${body.device.systemVersion}`,
            package: of ? { id: of.id, name: of.name } : null,
            runs: body.runs.map((run) => {
              const own = failed.find((f) => f.computeUnits === run.computeUnits);
              const [largest] = [...run.decode].sort((a, b) => b.context - a.context);
              return {
                computeUnits: run.computeUnits,
                passed: run.parity.filter((p) => p.passed).length,
                cases: run.parity.length,
                failedCases: own?.cases ?? [],
                failures: own?.failures ?? [],
                decode: largest
                  ? { context: largest.context, tokensPerSecond: 1000 / Math.max(largest.perToken.median, 1e-6) }
                  : null,
              };
            }),
          };
        }),
    };
  });
}

export interface ChipState {
  readonly chip: string;
  readonly name: string;
  /** Calls that count, and reports that do not, with the reason. */
  readonly calls: number;
  readonly reports: number;
  readonly unused: ChipTimings["unused"];
  readonly fit: ChipFit | null;
  /** Calls came or went since it was fitted. */
  readonly isBehind: boolean;
}

/** Of every chip that a phone here has. */
export async function listChips(core: Core): Promise<ChipState[]> {
  const known = new Map(
    (await core.db.select().from(devices)).flatMap((d) => {
      const chip = d.kind === "simulated" ? undefined : deviceOfChip(d.chip);
      return chip ? [[chip.id, chip.name] as const] : [];
    }),
  );
  const fits = await chipFits(core);
  const found: ChipState[] = [];
  for (const [chip, name] of known) {
    const { usable, unused } = await timingsOfChip(core, chip);
    const fit = fits.get(chip) ?? null;
    const now = usable.map((u) => u.timing.id).sort();
    const then = fit?.points.map((p) => p.id).sort() ?? [];
    found.push({
      chip,
      name,
      calls: usable.length,
      reports: new Set(usable.map((u) => u.reportId)).size,
      unused,
      fit,
      isBehind: fit !== null && now.join("\n") !== then.join("\n"),
    });
  }
  return found;
}
