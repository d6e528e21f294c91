/** @file What an empty workbench begins with: the starter model, its texts, and a notebook that teaches by doing. */
import { fileURLToPath } from "node:url";
import { eq } from "drizzle-orm";
import { STARTER_NOTEBOOK, starterNotebook } from "../experiments/notebook/starter-notebook.ts";
import { starterStudyOptions, starterTexts } from "../experiments/studies/starter-study.ts";
import type { Core } from "./core.ts";
import { notebooks } from "./db/schema.ts";
import { listModels, registerModel } from "./models/model-registry.ts";
import { createNotebook } from "./notebooks/notebooks.ts";
import { addText, listTexts } from "./texts/texts.ts";

const starterFolder = fileURLToPath(new URL("../experiments/starter/model", import.meta.url));

export async function ensureStarter(core: Core): Promise<void> {
  await ensureNotebook(core);
  const known = await listModels(core);
  if (!known.some((m) => m.id === "starter"))
    await registerModel(core, starterFolder, { id: "starter", note: "Comes with Espalier; see its model card." });
  const texts = await listTexts(core);
  if (texts.some((t) => t.id === "starter-train")) return;
  for (const text of starterTexts(starterStudyOptions.parse({}).questions)) await addText(core, text);
}

/** Once: who puts the notebook away does not get it again. */
async function ensureNotebook(core: Core): Promise<void> {
  const [known] = await core.db.select({ id: notebooks.id }).from(notebooks).where(eq(notebooks.id, STARTER_NOTEBOOK));
  if (!known) await createNotebook(core, starterNotebook(), STARTER_NOTEBOOK);
}
