/** Writes random programs as packages, and beside each what we infer. Usage: write-random.ts FOLDER COUNT [SEED] */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { writePackage } from "../../lib/formats/coreml/package-writer.ts";
import { randomProgram } from "./random-program.ts";

const [folder = ".", count = "500", first = "1"] = process.argv.slice(2);
const metadata = { shortDescription: "random", author: "Espalier", license: "", version: "1", userDefined: {} };
const types = new Map<string, number>();
let operations = 0;
for (let i = 0; i < Number(count); i++) {
  const seed = Number(first) + i;
  const program = randomProgram(seed);
  await writePackage(join(folder, `${seed}.mlpackage`), program, metadata);
  for (const fn of program.functions)
    for (const op of fn.operations) {
      if (op.type === "const") continue;
      operations++;
      types.set(op.type, (types.get(op.type) ?? 0) + 1);
    }
  writeFileSync(join(folder, `${seed}.json`), JSON.stringify({ seed }));
}
console.log(`${count} programs, ${operations} operations of ${types.size} types`);
