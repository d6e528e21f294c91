/** @file What an empty workbench begins with: the starter model and its texts. */
import { fileURLToPath } from "node:url";
import { starterStudyOptions, starterTexts } from "../experiments/studies/starter.ts";
import type { Core } from "./core.ts";
import { listModels, registerModel } from "./models/models.ts";
import { addText, listTexts } from "./texts/texts.ts";

const starterFolder = fileURLToPath(new URL("../experiments/starter/model", import.meta.url));

export async function ensureStarter(core: Core): Promise<void> {
  const known = await listModels(core);
  if (!known.some((m) => m.id === "starter"))
    await registerModel(core, starterFolder, { id: "starter", note: "Comes with Espalier; see its model card." });
  const texts = await listTexts(core);
  if (texts.some((t) => t.id === "starter-train")) return;
  for (const text of starterTexts(starterStudyOptions.parse({}).questions)) await addText(core, text);
}
