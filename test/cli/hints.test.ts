/** Whatever hint, usage line or example names a verb of the command line, the command line has it. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { Command } from "commander";
import { expect, test } from "vitest";
import { addApi } from "../../bin/commands/api.ts";
import { experimentKinds } from "../../experiments/registry.ts";

const root = resolve(import.meta.dirname, "../..");
const program = new Command();
addApi(program);
const api = program.commands.find((c) => c.name() === "api");
/** Top-level verbs, as the files of `bin/commands` register them. */
const verbs = new Set<string>([
  ...experimentKinds,
  ...readdirSync(join(root, "bin/commands"))
    .flatMap((f) => [...readFileSync(join(root, "bin/commands", f), "utf8").matchAll(/\.command\(\s*"([a-z-]+)/g)])
    .map((m) => m[1] ?? ""),
]);
/** What secrets are derived for, in the words of `server/access` and `server/reports`; no commands. */
const purposes = new Set(["session", "pairing"]);

/** Commands in code: after a backtick or a quote, where the rest of the sentence speaks of Espalier itself. */
const said = /[`"'] ?(?:npm run -s )?espalier (?:-- )?([a-z][a-z-]*)(?: ([a-z][a-z-]*))?(?: ([a-z][a-z-]*))?/g;

test("hints name verbs that exist", () => {
  const wrong: string[] = [];
  let found = 0;
  for (const folder of ["bin", "lib", "experiments", "server", "workers", "app"])
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true, recursive: true })) {
      if (!entry.isFile() || !/\.tsx?$/.test(entry.name)) continue;
      const file = join(entry.parentPath, entry.name);
      for (const [, verb = "", thing, action] of readFileSync(file, "utf8").matchAll(said)) {
        found++;
        const isKnown =
          verb === "api"
            ? thing === undefined ||
              api?.commands.some(
                (c) => c.name() === thing && (action === undefined || c.commands.some((v) => v.name() === action)),
              )
            : verbs.has(verb) || purposes.has(verb);
        if (!isKnown) wrong.push(`${relative(root, file)}: espalier ${[verb, thing, action].join(" ")}`);
      }
    }
  expect(found).toBeGreaterThan(10);
  expect(wrong).toEqual([]);
});
