/** @file The options of an export, and the sizes that follow from them. */
import { z } from "zod";
import type { DecoderArchitecture } from "../../../lib/decoder/architecture.ts";
import { LARGEST_HEAD_PART, neuralEngineGap, STATE_MULTIPLE } from "../../../lib/decoder/neural-engine/plan.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { askedTypes } from "../../../lib/export/gguf/tensor-types.ts";
import { PACKAGE_LIMIT_BYTES } from "../../../lib/formats/coreml/package-pipeline.ts";
import { targetNames } from "../../../lib/formats/coreml/targets.ts";
import type { ModelShape } from "../../definition.ts";
import { flagOf } from "../../flags.ts";
import { outputConfig } from "../../output.ts";
import { bosConfig } from "../../text.ts";
import { DEFAULT_MAX_KL } from "./quality.ts";

export const targets = ["coreml", "gguf", "mlx"] as const;

export const exportConfig = z.object({
  model: z.string().describe("A checkpoint folder, a .gguf file or the id of a known model").meta({ role: "model" }),
  to: z.enum(targets).default("coreml").describe("What to write"),
  ...outputConfig("Folder for the package, its card and the tokenizer"),
  type: z
    .enum(askedTypes)
    .optional()
    .describe(
      "GGUF: type for weights whose codes no GGUF type can hold, one for all or a mixture of llama.cpp's; default: floats stay as stored, other codes become the type of about their bits",
    ),
  bits: z
    .number()
    .int()
    .optional()
    .describe(
      "MLX: bits of weights whose codes MLX cannot hold: 2, 3, 4, 5, 6 or 8; default: floats stay as stored, other codes keep their bits",
    ),
  groupSize: z
    .number()
    .int()
    .optional()
    .describe("MLX: columns that share a scale and a bias, 32, 64 or 128; default: 64"),
  calibration: z
    .string()
    .optional()
    .describe(
      "GGUF and MLX: text whose activations say which errors of quantizing count most, as an importance matrix does; default: all alike",
    )
    .meta({ role: "text" }),
  ollama: z.boolean().default(false).describe("GGUF: write a Modelfile for Ollama beside the file"),
  layout: z
    .enum(["neural-engine", "plain"])
    .optional()
    .describe(
      "neural-engine: for the Neural Engine; plain: for CPU and GPU; default: neural-engine if it supports the whole model",
    ),
  target: z
    .enum(targetNames)
    .default("iOS18")
    .describe(
      "The oldest system the package must run on; on iOS 17, caches are inputs and outputs and each function is its own package",
    ),
  contexts: z
    .array(z.number().int().min(16))
    .min(1)
    .max(8)
    .optional()
    .describe(
      "Positions the cache holds, with one set of functions for each; default: the model's maximum, at most 512",
    ),
  prefill: z
    .array(z.number().int().min(2).max(1024))
    .max(4)
    .default([64])
    .describe("Positions per prefill call, with one function for each"),
  embedding: z
    .enum(["inside", "host"])
    .optional()
    .describe(
      `Where token embeddings are looked up; default: inside, but host when a tied vocabulary has more than ${LARGEST_HEAD_PART} tokens`,
    ),
  text: z
    .string()
    .optional()
    .describe("Held-out text for the comparison; default: the model's own greedy text")
    .meta({ role: "text" }),
  separator: z.string().optional().meta({ escapes: true }).describe("String that separates documents in the text"),
  ...bosConfig,
  checkTokens: z
    .number()
    .int()
    .min(4)
    .optional()
    .describe("Tokens of greedy text that must be identical; default: 64, or 8 for a streamed model"),
  streamAboveBytes: z
    .number()
    .int()
    .min(0)
    .default(1_000_000_000)
    .describe("Models with more fp32 bytes than this are streamed: written and compared a few weights at a time"),
  maxPackageBytes: z
    .number()
    .int()
    .min(1000)
    .default(PACKAGE_LIMIT_BYTES)
    .describe(
      "Bytes of weights one package may hold; a larger model is split into several packages that run in sequence",
    ),
  maxKl: z
    .number()
    .positive()
    .default(DEFAULT_MAX_KL)
    .describe("The package is called ready only if its model's KL to the original is at most this, in nats per token"),
  name: z
    .string()
    .regex(/^[\w-]+$/)
    .default("Model")
    .describe("Name of the package"),
});
export type ExportConfig = z.infer<typeof exportConfig>;

export interface ExportSizes {
  readonly layout: "neural-engine" | "plain";
  /** Ascending. */
  readonly contexts: readonly number[];
  /** Widths that fit at least one context, ascending. */
  readonly prefill: readonly number[];
  readonly embedding: "inside" | "host";
}

/** Throws `export/unsupported` for what the layout or a model of this shape cannot have; null for one that is not made yet. */
export function checkSizes({ layout, contexts, embedding }: ExportConfig, shape: ModelShape | null): void {
  const largest = Math.max(...(contexts ?? [0]));
  if (shape && largest > shape.maxPositions) {
    throw new EspalierError(
      "export/unsupported",
      `--contexts: ${largest} positions are more than the model's ${shape.maxPositions}`,
    );
  }
  if (layout === "plain" && new Set(contexts).size > 1)
    throw new EspalierError("export/unsupported", "--contexts: the plain layout has only one context", {
      hint: "Give one, or use --layout neural-engine.",
    });
  if (layout === "plain" && embedding === "host")
    throw new EspalierError("export/unsupported", "--embedding host needs --layout neural-engine");
}

/** Throws `export/unsupported` for options that the layout or the model cannot support. */
export function exportSizes(config: ExportConfig, arch: DecoderArchitecture): ExportSizes {
  const layout = config.layout ?? (neuralEngineGap(arch) === null ? "neural-engine" : "plain");
  const multiple = layout === "neural-engine" ? STATE_MULTIPLE : 1;
  const most = Math.floor(Math.min(512, arch.maxPositions) / multiple) * multiple;
  if (most === 0) {
    throw new EspalierError(
      "export/unsupported",
      `the model has ${arch.maxPositions} positions, the Neural Engine layout needs ${multiple}`,
      { hint: "Use --layout plain." },
    );
  }
  const contexts = [...new Set(config.contexts ?? [most])].sort((a, b) => a - b);
  const largest = contexts.at(-1) ?? 0;
  const tiedAndLarge = arch.tiedHead && arch.vocab > LARGEST_HEAD_PART;
  const fallback = layout === "neural-engine" && tiedAndLarge ? "host" : "inside";
  const embedding = config.embedding ?? fallback;
  checkSizes({ ...config, layout, contexts: [...contexts], embedding }, arch);
  return { layout, contexts, embedding, prefill: fittingWidths(config.prefill, layout, arch, largest) };
}

/** A default width that no ring can take is narrowed rather than refused. */
function fittingWidths(
  widths: readonly number[],
  layout: ExportSizes["layout"],
  arch: DecoderArchitecture,
  largest: number,
): number[] {
  const windows = layout === "plain" ? [] : arch.layers.flatMap((l) => (l.window === null ? [] : [l.window]));
  const slots = Math.min(largest, ...windows.map((w) => Math.ceil(w / STATE_MULTIPLE) * STATE_MULTIPLE));
  const fitting = widths.map((w) => Math.min(w, slots)).filter((w) => w < largest);
  return [...new Set(fitting)].sort((a, b) => a - b).slice(0, layout === "plain" ? 1 : undefined);
}

/** Options that only some targets have. */
const owners = {
  ...{ type: ["gguf"], ollama: ["gguf"], bits: ["mlx"], groupSize: ["mlx"], calibration: ["gguf", "mlx"] },
  ...{ layout: ["coreml"], contexts: ["coreml"], embedding: ["coreml"] },
} as const satisfies Partial<Record<keyof ExportConfig, readonly ExportConfig["to"][]>>;

/** Throws `input/invalid` for an option that only other targets have. */
export function refuseOthers(config: ExportConfig): void {
  const given: Readonly<Record<string, unknown>> = { ...config, ollama: config.ollama || undefined };
  for (const [name, targetsOf] of Object.entries(owners)) {
    if (given[name] === undefined || targetsOf.some((t) => t === config.to)) continue;
    throw new EspalierError("input/invalid", `${flagOf(name)} is for --to ${targetsOf.join(" and --to ")}`, {
      hint:
        config.to === "coreml"
          ? "For fewer bits, quantize the model first: `espalier quantize MODEL --bits 4 --out FOLDER`."
          : "Leave it out: the program that runs the file decides.",
    });
  }
}
