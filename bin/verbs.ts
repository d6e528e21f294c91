/**
 * @file The verbs of the command line, in the order of the help, each with the module it comes from.
 *
 * Only the module of the verb at hand is loaded: all of them together are four times as much, the workbench with its database
 * included, and loading is most of what a short command takes.
 */
import type { Command } from "commander";

type Add = (program: Command, signal: AbortSignal) => void;

export const verbs: readonly { readonly names: readonly string[]; readonly load: () => Promise<Add> }[] = [
  { names: ["start", "worker"], load: async () => (await import("./commands/start.ts")).addStart },
  { names: ["demo"], load: async () => (await import("./commands/demo.ts")).addDemo },
  { names: ["import", "models"], load: async () => (await import("./commands/models.ts")).addModels },
  { names: ["evaluate"], load: async () => (await import("./commands/evaluate.ts")).addEvaluate },
  { names: ["generate"], load: async () => (await import("./commands/generate.ts")).addGenerate },
  { names: ["sensitivity"], load: async () => (await import("./commands/sensitivity.ts")).addSensitivity },
  { names: ["prune"], load: async () => (await import("./commands/prune.ts")).addPrune },
  { names: ["distill"], load: async () => (await import("./commands/distill.ts")).addDistill },
  { names: ["quantize"], load: async () => (await import("./commands/quantize.ts")).addQuantize },
  { names: ["tradeoff"], load: async () => (await import("./commands/tradeoff.ts")).addTradeoff },
  { names: ["export"], load: async () => (await import("./commands/export.ts")).addExport },
  { names: ["inspect"], load: async () => (await import("./commands/inspect.ts")).addInspect },
  { names: ["run-package"], load: async () => (await import("./commands/run-package.ts")).addRunPackage },
  { names: ["delta", "patch"], load: async () => (await import("./commands/delta.ts")).addDelta },
  { names: ["report"], load: async () => (await import("./commands/report.ts")).addReport },
  { names: ["api"], load: async () => (await import("./commands/api.ts")).addApi },
];

/** Adds `verb` to `program`; all verbs where it is none of them, as for the help. */
export async function addVerbs(program: Command, signal: AbortSignal, verb: string | undefined): Promise<void> {
  const own = verbs.find(({ names }) => names.some((name) => name === verb));
  for (const { load } of own ? [own] : verbs) (await load())(program, signal);
  for (const command of program.commands) command.exitOverride();
}
