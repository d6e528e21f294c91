/**
 * @file `espalier api <thing> <verb>`: every procedure of the workbench, with flags from its schema.
 *
 * The commands are made from the router, so the command line can do everything the pages can. They speak to the server that
 * has the data when one runs, and open the data themselves when none does.
 */
import type { Command } from "commander";
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";
import { apiError } from "../../server/api/client.ts";
import { appRouter } from "../../server/api/router.ts";
import { addFlags, kebab, parseFlags } from "../flags.ts";
import { openWorkbenchSession } from "../workbench-session.ts";

export interface ProcedureCommand {
  /** `runs.list` */
  readonly path: string;
  readonly type: "query" | "mutation";
  readonly input: z.ZodType | null;
}

/** What tRPC keeps of a procedure; its types do not show the schemas. */
const definition = z.object({ type: z.string(), inputs: z.array(z.unknown()) });

/** All procedures but the stream of events, which is for pages; `runs get` tells the same when asked. */
export function procedureCommands(): ProcedureCommand[] {
  return Object.entries(appRouter._def.procedures).flatMap(([path, procedure]) => {
    const { type, inputs } = definition.parse(Reflect.get(procedure, "_def"));
    if (type !== "query" && type !== "mutation") return [];
    const input = inputs[0] instanceof z.ZodType ? inputs[0] : null;
    return [{ path, type, input }];
  });
}

export function addApi(program: Command): void {
  const api = program.command("api").description("Call the workbench's API: models, runs, sweeps, notebooks, …");
  const things = new Map<string, Command>();
  for (const { path, type, input } of procedureCommands()) {
    const [thing = "", verb = ""] = path.split(".");
    let parent = things.get(thing);
    if (!parent) {
      parent = api.command(kebab(thing)).description(`${thing} of the workbench`).exitOverride();
      things.set(thing, parent);
    }
    const command = parent
      .command(kebab(verb))
      .description(`${type === "query" ? "Ask" : "Change"}: ${path}`)
      .exitOverride();
    if (input) addFlags(command, input);
    command.option("--json", "Print one JSON object on standard output and nothing else");
    command.action(async () => {
      const given: Record<string, unknown> = { ...command.opts() };
      const value = input ? parseFlags(input, given) : undefined;
      const session = await openWorkbenchSession({ computes: false });
      try {
        const answer = await call(session.client, path, type, value).catch((thrown: unknown) => {
          throw apiError(thrown);
        });
        process.stdout.write(
          given.json === true ? `${JSON.stringify(answer)}\n` : `${JSON.stringify(answer, null, 2)}\n`,
        );
      } finally {
        await session.close();
      }
    });
  }
}

/** A procedure by its path; the router it was made from checked path and input. */
async function call(client: object, path: string, type: "query" | "mutation", input: unknown): Promise<unknown> {
  const [thing = "", verb = ""] = path.split(".");
  const proxy = client as Record<string, Record<string, Record<string, (input: unknown) => Promise<unknown>>>>;
  const ask = proxy[thing]?.[verb]?.[type === "query" ? "query" : "mutate"];
  if (!ask) throw new EspalierError("internal/invariant", `internal: the client has no ${path}`);
  return ask(input);
}
