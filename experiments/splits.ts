/**
 * @file One rule for which part of a text calibrates and which part judges: of any four sequences in a row, the fourth is held out.
 *
 * Interleaved, so that both parts see the whole text; by position, so that the split is the same in every run.
 */
import { EspalierError } from "../lib/errors.ts";
import { predictedTokens, type TokenSequence } from "../lib/eval/sequences.ts";
import type { OpenModel } from "./models.ts";
import type { MeasuredText } from "./original.ts";
import { type TextConfig, textSequences } from "./text.ts";

const EVERY = 4;

export interface Split {
  readonly calibrate: TokenSequence[];
  readonly heldOut: TokenSequence[];
}

/** Of fewer than four sequences the last is held out. Throws `input/invalid` for a single one, which cannot be shared. */
export function splitSequences(sequences: readonly TokenSequence[]): Split {
  if (sequences.length < 2) {
    throw new EspalierError("input/invalid", "the text gives one sequence, and a part of it has to be held out", {
      hint: "Give more text, or smaller sequences with --context.",
    });
  }
  const every = Math.min(EVERY, sequences.length);
  const isHeldOut = (i: number): boolean => i % every === every - 1;
  return {
    calibrate: sequences.filter((_, i) => !isHeldOut(i)),
    heldOut: sequences.filter((_, i) => isHeldOut(i)),
  };
}

/** What calibrates a compression, and what its loss is then measured on. */
export interface CalibrationText {
  readonly calibrate: TokenSequence[];
  readonly heldOut: MeasuredText;
}

/** Enough for a KL within a few per cent, and seconds of work on a small model. */
const TOKENS = 8192;
/** Short sequences are many for their tokens, which makes the standard error of a mean over them honest. */
const CONTEXT = 256;

/** A text file in two parts; without a limit its first 8192 tokens serve. */
export async function calibrationText(config: TextConfig, model: OpenModel): Promise<CalibrationText> {
  const bounded = config.limit !== undefined || config.maxTokens !== undefined;
  const asked = { ...config, context: config.context ?? CONTEXT, ...(bounded ? {} : { maxTokens: TOKENS }) };
  const { sequences, protocol } = await textSequences(asked, model);
  const { calibrate, heldOut } = splitSequences(sequences);
  return { calibrate, heldOut: { sequences: heldOut, protocol: heldOutProtocol(protocol, heldOut) } };
}

export const heldOutProtocol = (protocol: string, heldOut: readonly TokenSequence[]): string =>
  `${protocol}; measured on every fourth of them, ${heldOut.reduce((n, s) => n + predictedTokens(s), 0)} tokens`;
