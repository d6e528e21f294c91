import { expect, test } from "vitest";
import { experimentOf } from "../registry.ts";
import { starterStudyOptions, starterTexts } from "../studies/starter-study.ts";
import { notebookContent } from "./cells.ts";
import { starterNotebook } from "./starter-notebook.ts";

test("every cell of the starter notebook can be run as it stands, and names only what is above it", () => {
  const { cells } = notebookContent.parse(starterNotebook());
  expect(new Set(cells.map((c) => c.id)).size).toBe(cells.length);
  const texts = new Set(starterTexts(starterStudyOptions.parse({}).questions).map((t) => t.id));
  const above = new Set<string>();
  for (const cell of cells) {
    if (cell.type === "experiment") {
      const config = JSON.parse(JSON.stringify(cell.config).replaceAll(/cell:(\w+)/g, "run:run_$1"));
      // An output folder is the workbench's to choose.
      expect(experimentOf(cell.kind).config.safeParse({ out: "out", ...config }).error?.issues ?? []).toEqual([]);
      for (const [, id] of JSON.stringify(cell.config).matchAll(/cell:(\w+)/g)) expect(above).toContain(id);
      for (const field of ["text", "heldOut"]) if (cell.config[field]) expect(texts).toContain(cell.config[field]);
      above.add(cell.id);
    }
    if (cell.type === "figure" || cell.type === "comparison")
      for (const r of cell.runs) expect(above).toContain(r.replace("cell:", ""));
  }
});
