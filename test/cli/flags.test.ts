/** What a flag's text means: escapes where they are declared, every other text as it is. */
import { expect, test } from "vitest";
import { z } from "zod";
import { parseFlags } from "../../bin/flags.ts";
import { textConfig } from "../../experiments/text.ts";

test("\\n is a line end in a separator, and two letters in a path or a prompt", () => {
  const schema = z.object({ ...textConfig, prompt: z.string() });
  const given = { text: "C:\\new\\table.txt", prompt: "$\\nabla f$ and \\t", separator: "\\n\\t\\r\\\\n" };
  expect(parseFlags(schema, given)).toEqual({ ...given, separator: "\n\t\r\\n" });
});
