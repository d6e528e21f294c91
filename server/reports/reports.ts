/**
 * @file Reports: what probes measured, joined to the exact package by the hash of its files.
 *
 * A report is taken from a paired phone or from a file. Either way it is checked against its schema, its package has to be one
 * that this workbench made, and its content names it: the same report again is the same row.
 */
import { createHash } from "node:crypto";
import { desc, eq, inArray, isNull } from "drizzle-orm";
import { EspalierError } from "../../lib/errors.ts";
import { hashOfFiles } from "../../lib/formats/coreml/package-hash.ts";
import { type MeasuredFigures, measuredFigures } from "../../lib/report/measured-figures.ts";
import { parityFailures, parseReport, type Report } from "../../lib/report/report.ts";
import { readManifest } from "../artifacts/directory.ts";
import type { Core } from "../core.ts";
import type { Db } from "../db/database.ts";
import { devices, packages, reports } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { canonical } from "../notebooks/notebooks.ts";
import { getPackage, type Package } from "../packages/packages.ts";
import { alreadyUsed, findPairing, usePairing } from "./pairing.ts";

export type Device = typeof devices.$inferSelect;
export type ReportRow = Omit<typeof reports.$inferSelect, "body"> & { readonly body: Report };

/** A report without its body, for lists. */
export interface ReportEntry extends Omit<ReportRow, "body"> {
  readonly device: string;
  readonly systemVersion: string;
  readonly computeUnits: Report["runs"][number]["computeUnits"][];
  readonly packages: { id: string; name: string }[];
}

export interface Received {
  readonly report: ReportRow;
  readonly packages: { id: string; name: string }[];
  /** False when the very same report was here already. */
  readonly isNew: boolean;
}

/** From a file that the user of this workbench chose. Throws as `parseReport`, and `input/invalid` for an unknown package. */
export function importReport(core: Core, text: string | Uint8Array): Promise<Received> {
  return receive(core, parseReport(text), "file");
}

/**
 * From a paired phone. Throws `access/denied` for a token that is unknown, ran out or was used, and `input/invalid` for a report
 * of another package than the paired one; the token then stays good. Sending the same report again is answered as the first time.
 */
export async function receiveReport(core: Core, secret: string, body: () => Promise<Uint8Array>): Promise<Received> {
  const pairing = await findPairing(core, secret);
  const report = parseReport(await body());
  if (pairing.usedAt !== null) {
    const [before] = await core.db
      .select()
      .from(reports)
      .where(eq(reports.sha256, digestOf(report)));
    if (!before || before.id !== pairing.reportId) throw alreadyUsed();
    return { report: typedReport(before), packages: await namesOf(core, before.packageSha256), isNew: false };
  }
  const paired = await getPackage(core, pairing.packageId);
  const expected = await packageHashOf(core, paired);
  if (report.package.sha256 !== expected)
    throw new EspalierError(
      "input/invalid",
      `the report is about another package: ${report.package.name} ${report.package.sha256.slice(0, 12)}, paired was ${paired.name} ${expected.slice(0, 12)}`,
      { hint: "Pair on the page of the package that the phone runs, or run the probe of this one." },
    );
  return receive(core, report, "pairing", (db, reportId, now) => usePairing(db, pairing.id, reportId, now));
}

async function receive(
  core: Core,
  report: Report,
  via: "pairing" | "file",
  within?: (db: Db, reportId: string, now: Date) => Promise<void>,
): Promise<Received> {
  const known = await packagesWith(core, report.package.sha256);
  if (known.length === 0)
    throw new EspalierError(
      "input/invalid",
      `no package here has the hash ${report.package.sha256.slice(0, 12)} that the report names (${report.package.name})`,
      { hint: "A report is valid only for the files it measured: import it where the package was exported." },
    );
  const now = new Date(core.clock.nowMs());
  const sha256 = digestOf(report);
  const { row, isNew } = await core.db.transaction(async (db) => {
    const [before] = await db.select().from(reports).where(eq(reports.sha256, sha256));
    const id = before?.id ?? newId("report");
    await within?.(db as Db, id, now);
    if (before) return { row: before, isNew: false };
    const deviceId = await deviceOf(db as Db, report, now);
    const [inserted] = await db
      .insert(reports)
      .values({
        id,
        sha256,
        packageSha256: report.package.sha256,
        deviceId,
        via,
        passed: parityFailures(report).length === 0 && report.runs.every((r) => r.parity.length > 0),
        body: report,
        receivedAt: now,
      })
      .onConflictDoNothing()
      .returning();
    if (inserted) return { row: inserted, isNew: true };
    throw new EspalierError("store/exists", "the same report is being imported right now", { hint: "Send it again." });
  });
  if (isNew) await core.events.publish("packages", { id: known[0]?.id, report: row.id });
  return { report: typedReport(row), packages: known.map(({ id, name }) => ({ id, name })), isNew };
}

async function deviceOf(db: Db, report: Report, now: Date): Promise<string> {
  const { kind, identifier, chip, memoryBytes, system, systemVersion } = report.device;
  const newest = { chip, memoryBytes, system: `${system} ${systemVersion}`, lastSeenAt: now };
  const [row] = await db
    .insert(devices)
    .values({ id: newId("device"), kind, identifier, ...newest })
    .onConflictDoUpdate({ target: devices.identifier, set: newest })
    .returning({ id: devices.id });
  if (!row) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  return row.id;
}

const digestOf = (report: Report): string => createHash("sha256").update(canonical(report)).digest("hex");

/** The parse boundary was passed when it was taken in. */
export const typedReport = (row: typeof reports.$inferSelect): ReportRow => ({ ...row, body: row.body as Report });

/** Packages of this hash. Rows from before there were reports get theirs from the manifest of their folder. */
export async function packagesWith(core: Core, sha256: string): Promise<Package[]> {
  for (const row of await core.db.select().from(packages).where(isNull(packages.packageSha256)))
    await packageHashOf(core, row);
  return core.db.select().from(packages).where(eq(packages.packageSha256, sha256)).orderBy(desc(packages.createdAt));
}

const namesOf = async (core: Core, sha256: string): Promise<{ id: string; name: string }[]> =>
  (await packagesWith(core, sha256)).map(({ id, name }) => ({ id, name }));

export async function packageHashOf(core: Core, row: Package): Promise<string> {
  if (row.packageSha256 !== null) return row.packageSha256;
  const inside = (await readManifest(core.artifacts, row.artifact)).flatMap((f) => {
    const [top = "", ...rest] = f.path.split("/");
    return top.endsWith(".mlpackage") ? [{ ...f, path: rest.join("/") }] : [];
  });
  const { sha256 } = hashOfFiles(inside);
  await core.db.update(packages).set({ packageSha256: sha256 }).where(eq(packages.id, row.id));
  return sha256;
}

/** Newest first; of one package when `packageId` is given. */
export async function listReports(core: Core, packageId?: string): Promise<ReportEntry[]> {
  const chosen = packageId === undefined ? null : await packageHashOf(core, await getPackage(core, packageId));
  const rows = await core.db
    .select()
    .from(reports)
    .where(chosen === null ? undefined : eq(reports.packageSha256, chosen))
    .orderBy(desc(reports.receivedAt))
    .limit(1000);
  const hashes = [...new Set(rows.map((r) => r.packageSha256))];
  const named =
    hashes.length === 0 ? [] : await core.db.select().from(packages).where(inArray(packages.packageSha256, hashes));
  return rows.map((row) => {
    const { body, ...rest } = typedReport(row);
    return {
      ...rest,
      device: body.device.identifier,
      systemVersion: body.device.systemVersion,
      computeUnits: body.runs.map((r) => r.computeUnits),
      packages: named.filter((p) => p.packageSha256 === row.packageSha256).map(({ id, name }) => ({ id, name })),
    };
  });
}

export async function getReport(core: Core, id: string): Promise<ReportRow> {
  const [row] = await core.db.select().from(reports).where(eq(reports.id, id));
  if (!row) throw new EspalierError("input/invalid", `there is no report ${id}`, { hint: "See the list of reports." });
  return typedReport(row);
}

/** What devices measured of this very package, newest per device and compute unit. */
export async function figuresOfPackage(core: Core, row: Package): Promise<MeasuredFigures[]> {
  const hash = await packageHashOf(core, row);
  const rows = await core.db.select().from(reports).where(eq(reports.packageSha256, hash));
  return measuredFigures(
    rows.map(typedReport).map((r) => ({ id: r.id, receivedAtMs: r.receivedAt.getTime(), body: r.body })),
  );
}
