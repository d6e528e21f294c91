/** @file What the cost model reads of a package, kept in the database under the hash of its files, so that packages are opened once. */
import { join } from "node:path";
import { eq } from "drizzle-orm";
import type { CoremlCard, GgufCard, MlxCard } from "../../experiments/kinds/export/card.ts";
import { countedProgram, readFiles } from "../../experiments/kinds/export/package-files.ts";
import { type PackageProfile, PROFILE_VERSION, profileProgram } from "../../lib/cost/program-profile.ts";
import type { Core } from "../core.ts";
import { packageProfiles } from "../db/schema.ts";
import { packageHashOf } from "../reports/reports.ts";
import { type Package, packageFolder } from "./packages.ts";

type Newer =
  | "to"
  | "faithful"
  | "good"
  | "status"
  | "reasons"
  | "file"
  | "kind"
  | "parts"
  | "target"
  | "constantsCompared"
  | "execution"
  | "predictedBytes"
  | "packageBytes"
  | "layout"
  | "embeddingBytes"
  | "notes"
  | "contexts"
  | "states"
  | "headroom"
  | "scaling"
  | "lint"
  | "modelled";
/** A Core ML card as it was kept: those from before there was lint say nothing of these. */
export type KeptCoremlCard = Omit<CoremlCard, Newer> & Partial<Pick<CoremlCard, Newer>>;
export type KeptCard = KeptCoremlCard | GgufCard | MlxCard;

/** What lies beside a card. */
export const packageFile = (card: KeptCard): string =>
  card.file ?? (card.ready ? card.package : `not-ready-${card.package}`);

/** Of a Core ML package. */
export async function profileOf(core: Core, row: Package, card: KeptCoremlCard): Promise<PackageProfile> {
  const packageSha256 = await packageHashOf(core, row);
  const [kept] = await core.db.select().from(packageProfiles).where(eq(packageProfiles.packageSha256, packageSha256));
  if (kept?.version === PROFILE_VERSION) return kept.profile as PackageProfile;
  const folder = await packageFolder(core, row.id);
  const program = countedProgram(await readFiles(join(folder, packageFile(card))));
  const profile = profileProgram(program, card.modelled?.units ?? "all");
  const value = { version: PROFILE_VERSION, profile };
  await core.db
    .insert(packageProfiles)
    .values({ packageSha256, ...value })
    .onConflictDoUpdate({ target: packageProfiles.packageSha256, set: value });
  return profile;
}
