/** @file Names for new rows: short, random, legible, safe in paths and addresses. */
import { randomInt } from "node:crypto";

const alphabet = "23456789abcdefghjkmnpqrstuvwxyz";

/** `run_8k2m…`: 50 bits, so that two of a million rows agree with probability 10⁻³ of a billionth. */
export function newId(
  prefix: "run" | "study" | "sweep" | "nb" | "view" | "host" | "batch" | "report" | "device" | "pair",
): string {
  let id = `${prefix}_`;
  for (let i = 0; i < 10; i++) id += alphabet[randomInt(alphabet.length)];
  return id;
}
