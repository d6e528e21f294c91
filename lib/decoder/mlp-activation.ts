/** @file The activation of a gated MLP, in the vocabulary of programs. */
import type { Builder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import type { LayerArchitecture } from "./architecture.ts";

/** act(x), the shape of x. */
export function activate(b: Builder, x: Value, { activation }: LayerArchitecture): Value {
  if (activation === "silu") return b.silu(x);
  return b.gelu(x, activation === "gelu" ? "EXACT" : "TANH_APPROXIMATION");
}
