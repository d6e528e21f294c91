import { Command } from "commander";
import { expect, test } from "vitest";
import { addVerbs, verbs } from "../../bin/verbs.ts";

const namesOf = async (verb: string | undefined): Promise<string[]> => {
  const program = new Command();
  await addVerbs(program, new AbortController().signal, verb);
  return program.commands.map((c) => c.name());
};

test("each module adds exactly the verbs it is listed under, and an unknown verb loads all of them", async () => {
  for (const { names } of verbs) for (const name of names) expect(await namesOf(name)).toEqual(names);
  const all = verbs.flatMap(({ names }) => names);
  expect(await namesOf(undefined)).toEqual(all);
  expect(await namesOf("constructor")).toEqual(all);
});
