/**
 * @file Text that a model wrote itself, for where no text is given: sampled once for a model and kept among its units.
 */
import { z } from "zod";
import { sampleTexts } from "../lib/decoder/sample-texts.ts";
import type { TokenSequence } from "../lib/eval/sequences.ts";
import { createRng } from "../lib/random.ts";
import type { ExperimentContext } from "./definition.ts";
import type { OpenModel } from "./model-session.ts";
import { onceFor } from "./statistics.ts";
import type { TextConfig } from "./text.ts";
import { type UnitName, unitHash } from "./unit-name.ts";

const COUNT = 64;
const LENGTH = 192;
const SEED = 0;

const stored = z.array(z.array(z.number().int().nonnegative()).min(2)).min(1);
const utf8 = new TextEncoder();

/** 64 texts of 192 tokens, shorter where the model's context is; of these the first `limit`, each cut to `context` tokens. */
export async function sampledText(
  model: OpenModel,
  { limit, context: cut }: Pick<TextConfig, "limit" | "context">,
  context: ExperimentContext,
  onShare?: (share: number) => void,
): Promise<TokenSequence[]> {
  const texts = await writtenTexts(model, context, onShare);
  return texts.slice(0, limit).map((whole, i) => {
    const ids = whole.subarray(0, cut);
    const sizeBytes = utf8.encode(model.tokenizer.decode([...ids.subarray(1)])).length;
    return { id: `sampled text ${i}`, ids, scoredFrom: 1, sizeBytes };
  });
}

function writtenTexts(
  model: OpenModel,
  context: ExperimentContext,
  onShare?: (share: number) => void,
): Promise<Int32Array[]> {
  const { tokenizer, weights } = model;
  const length = Math.min(LENGTH, weights.arch.maxPositions);
  const name: UnitName = {
    engine: context.engine.identity,
    model: model.hash,
    subject: `sampled text@1 ${COUNT}x${length} seed ${SEED}`,
    shard: "",
  };
  return onceFor(model, unitHash(name), async () => {
    const found = stored.safeParse(await context.store.get(name));
    if (!found.success)
      context.log?.(`no text was given, so the model writes ${COUNT} texts of ${length} tokens itself`);
    const texts = found.success
      ? found.data.map((ids) => Int32Array.from(ids))
      : await sampleTexts(context.engine, weights, {
          count: COUNT,
          length,
          bosId: tokenizer.addedTokens("auto").begin[0] ?? null,
          eosIds: tokenizer.eosIds,
          rng: createRng(SEED, "sampled text"),
          signal: context.signal,
          onShare,
        });
    if (!found.success)
      await context.store.put(
        name,
        texts.map((ids) => [...ids]),
      );
    return texts;
  });
}
