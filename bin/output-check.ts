/**
 * @file Refuses an output folder before any work: one that cannot be written, or that would take something with it.
 *
 * Never an output: an empty path, the current folder, the home folder, a folder that holds an input, and any folder that
 * Espalier did not write itself (`lib/files/mark.ts`).
 */
import { existsSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve, sep } from "node:path";
import type { z } from "zod";
import { fieldRoles } from "../experiments/roles.ts";
import { EspalierError } from "../lib/errors.ts";
import { requireReplaceable } from "../lib/files/atomic.ts";

/** The path with every link in it followed, as far as it exists. */
function real(path: string): string {
  const full = resolve(path);
  if (existsSync(full) || dirname(full) === full) return existsSync(full) ? realpathSync(full) : full;
  return join(real(dirname(full)), basename(full));
}

const holds = (folder: string, path: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);

/** What must outlive the command, with how a person calls it. */
function kept(schema: z.ZodType, config: Readonly<Record<string, unknown>>): { what: string; path: string }[] {
  const inputs = [...fieldRoles(schema)].flatMap(([name, role]) =>
    role === "output" || role === "replace" ? [] : [config[name]].flat().filter((v) => typeof v === "string"),
  );
  return [
    { what: "is the current folder or contains it", path: process.cwd() },
    { what: "is the home folder or contains it", path: homedir() },
    ...inputs
      .filter((v) => v !== "" && existsSync(v))
      .map((v) => ({ what: `is the input ${v} or contains it`, path: v })),
  ];
}

/** Throws `input/invalid` or `store/exists` for an output of this config that cannot be written. */
export function checkOutputs(schema: z.ZodType, config: Readonly<Record<string, unknown>>): void {
  const roles = fieldRoles(schema);
  const replace = [...roles].some(([name, role]) => role === "replace" && config[name] === true);
  for (const [name, role] of roles) {
    const out = config[name];
    if (role !== "output" || typeof out !== "string") continue;
    if (out.trim() !== "")
      for (const { what, path } of kept(schema, config))
        if (holds(real(out), real(path)))
          throw new EspalierError("input/invalid", `--${name} ${out} ${what}`, {
            hint: `Name a new folder: --${name} small.`,
          });
    requireReplaceable(out, { replace });
  }
}
