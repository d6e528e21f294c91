/** @file Packages: what an export left, kept as one folder with its card. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { desc, eq } from "drizzle-orm";
import type { ExportCard } from "../../experiments/kinds/export/export.ts";
import { exporterOf } from "../../experiments/kinds/export/exporters.ts";
import { EspalierError } from "../../lib/errors.ts";
import { materializeDirectory, putDirectory } from "../artifacts/directory.ts";
import { type Core, materializedFolder } from "../core.ts";
import { packages } from "../db/schema.ts";

export type Package = typeof packages.$inferSelect;

/** Keeps the folder an export wrote: one package a run, however many attempts it took. */
export async function registerPackage(
  core: Core,
  folder: string,
  given: { modelId: string; runId: string },
): Promise<Package> {
  const card = JSON.parse(await readFile(join(folder, "card.json"), "utf8")) as ExportCard;
  const { file } = card;
  const { sha256: artifact, sizeBytes } = await putDirectory(core.artifacts, folder);
  const exporter = exporterOf(card.to);
  const packageSha256 = await exporter.hash(join(folder, file));
  const contents = await exporter.contents(join(folder, file));
  const kept = {
    name: card.package.replace(/\.\w+$/, ""),
    artifact,
    packageSha256,
    sizeBytes,
    ready: card.ready,
    card,
    contents,
  };
  const [row] = await core.db
    .insert(packages)
    .values({ ...given, ...kept, id: given.runId.replace(/^run_/, "pkg_") })
    .onConflictDoUpdate({ target: packages.id, set: kept })
    .returning();
  if (!row) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  await core.events.publish("packages", { id: row.id });
  return row;
}

export const listPackages = (core: Core): Promise<Package[]> =>
  core.db.select().from(packages).orderBy(desc(packages.createdAt));

export async function getPackage(core: Core, id: string): Promise<Package> {
  const [row] = await core.db.select().from(packages).where(eq(packages.id, id));
  if (!row)
    throw new EspalierError("input/invalid", `there is no package ${id}`, { hint: "See the list of packages." });
  return row;
}

/** The folder of an export on this machine. */
export async function packageFolder(core: Core, id: string): Promise<string> {
  const { artifact } = await getPackage(core, id);
  const folder = join(materializedFolder(core, artifact), "package");
  await materializeDirectory(core.artifacts, artifact, folder);
  return folder;
}
