import { Command } from "commander";
import { expect, test } from "vitest";
import { z } from "zod";
import { addApi, procedureCommands } from "../../bin/commands/api.ts";
import { kebab } from "../../bin/flags.ts";
import { appRouter } from "../../server/api/router.ts";

const program = new Command();
addApi(program);
const api = program.commands.find((c) => c.name() === "api");

/** For pages only; the command line asks `runs get` and `runs list`. */
const notOnTheCommandLine = ["events.stream"];

test.each(Object.keys(appRouter._def.procedures).filter((p) => !notOnTheCommandLine.includes(p)))(
  "the command line has %s, with a flag for each field",
  (path) => {
    const [thing = "", verb = ""] = path.split(".");
    const command = api?.commands
      .find((c) => c.name() === kebab(thing))
      ?.commands.find((c) => c.name() === kebab(verb));
    expect(command).toBeDefined();
    const input = procedureCommands().find((p) => p.path === path)?.input;
    const fields = input
      ? Object.keys((z.toJSONSchema(input, { io: "input" }) as { properties?: object }).properties ?? {})
      : [];
    const flags = command?.options.map((o) => o.long);
    for (const field of fields) expect(flags).toContain(`--${kebab(field)}`);
  },
);
