/** @file A trade-off of six checkpoints of one size beside their base. */
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { espalier } from "../measured.ts";
import type { RealRow } from "../row.ts";

export const tradeoff: RealRow = {
  name: "trade-off of six",
  seconds: { before: 236, goal: null },
  memory: { before: 7.6, goal: 1.5 },
  async run({ model, text, folder }) {
    // Copies that differ in their configs alone, because a model that was measured is not measured again.
    const models = Array.from({ length: 6 }, (_, i) => {
      const copy = join(folder, `copy-${i}`);
      mkdirSync(copy, { recursive: true });
      for (const file of ["tokenizer.json", "tokenizer_config.json"])
        if (existsSync(join(model, file))) cpSync(join(model, file), join(copy, file));
      symlinkSync(join(model, "model.safetensors"), join(copy, "model.safetensors"));
      const config: unknown = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
      writeFileSync(join(copy, "config.json"), JSON.stringify({ ...Object(config), copy: i }));
      return copy;
    });
    const here = await espalier([
      ...["tradeoff", model, "--models", models.join(","), "--text", text],
      ...["--limit", "3", "--context", "512", "--json"],
    ]);
    return { here, peer: null };
  },
};
