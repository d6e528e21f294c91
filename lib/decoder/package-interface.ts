/**
 * @file The interface of a package, as one JSON object in its metadata: written by export, read by
 * every host.
 *
 * `docs/package-interface.md` explains the fields and what a host does with them. Not included: the
 * tokenizer, a separate file next to the package.
 */
import { z } from "zod";
import { EspalierError } from "../errors.ts";

export const INTERFACE_KEY = "espalier.interface";

const count = z.number().int().positive();
const tokenId = z.number().int().min(0);

const common = {
  version: z.literal(1),
  family: z.string(),
  hidden: count,
  vocab: count,
  beginToken: tokenId.nullable(),
  /** Also null in packages of earlier versions, which lack the field. */
  startToken: tokenId.nullable().default(null),
  stopTokens: z.array(tokenId),
};

const functionEntry = z.object({
  name: z.string(),
  role: z.enum(["decode", "prefill"]),
  /** Positions a call takes. */
  width: count,
  /** How many positions a call can see. */
  context: count,
});

const functionCache = z.object({
  name: z.string(),
  slots: count,
  /** `slice` overwrites consecutive slots, `blend` the slots a one-hot matrix names. */
  write: z.enum(["slice", "blend"]),
  /** What queries see: the cache after the write, or the old cache with the chunk next to it. */
  attends: z.enum(["cache", "cache-then-chunk"]),
});

const neuralEngineFunction = functionEntry.extend({
  logits: z.enum(["all", "last"]),
  caches: z.array(functionCache).min(1).max(2),
});

const rope = z.object({
  cos: z.string(),
  sin: z.string(),
  inverseFrequencies: z.array(z.number()).min(1),
  attentionFactor: z.number(),
});

const neuralEngine = z.object({
  ...common,
  layout: z.literal("neural-engine"),
  cacheForm: z.enum(["state", "arguments"]),
  embedding: z.discriminatedUnion("location", [
    z.object({ location: z.literal("inside") }),
    z.object({ location: z.literal("host"), file: z.string(), scale: z.number() }),
  ]),
  /** The table of per-layer embeddings, always outside; absent for models without. */
  perLayer: z.object({ input: z.string(), file: z.string(), channels: count, scale: z.number() }).optional(),
  logits: z.array(z.object({ output: z.string(), from: tokenId, to: count })).min(1),
  finalSoftcap: z.object({ cap: z.number().positive(), applied: z.boolean() }).nullable(),
  maskedValue: z.number().negative(),
  ropes: z.array(rope),
  caches: z
    .array(z.object({ name: z.string() }))
    .min(1)
    .max(2),
  masks: z.array(z.object({ input: z.string(), cache: z.string(), window: count.nullable() })).min(1),
  functions: z.array(neuralEngineFunction).min(1),
});

const plain = z.object({
  ...common,
  layout: z.literal("plain"),
  /** `state` in packages of earlier versions, which do not say. */
  cacheForm: z.enum(["state", "arguments"]).default("state"),
  functions: z.array(functionEntry).min(1),
});

export const packageInterface = z.discriminatedUnion("layout", [neuralEngine, plain]);
export type PackageInterface = z.infer<typeof packageInterface>;
export type NeuralEngineInterface = z.infer<typeof neuralEngine>;
export type NeuralEngineFunction = z.infer<typeof neuralEngineFunction>;
export type FunctionCache = z.infer<typeof functionCache>;
export type RopeEntry = z.infer<typeof rope>;

/** Null for a package without one. Throws `format/malformed` for one that cannot be read. */
export function readInterface(userDefined: Readonly<Record<string, string>>): PackageInterface | null {
  const text = userDefined[INTERFACE_KEY];
  if (text === undefined) return null;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EspalierError("format/malformed", `the metadata ${INTERFACE_KEY} is no JSON`, { cause });
  }
  const parsed = packageInterface.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new EspalierError(
    "format/malformed",
    `the metadata ${INTERFACE_KEY}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`,
    { hint: "The package was written by another version of Espalier, or changed since; export it again." },
  );
}
