/**
 * @file One rule for which part of a text calibrates and which part judges: of any four sequences in a row, the fourth is held out.
 *
 * Interleaved, so that both parts see the whole text; by position, so that the split is the same in every run.
 */
import { basename } from "node:path";
import { EspalierError } from "../lib/errors.ts";
import { type TokenSequence, tokensOf } from "../lib/eval/sequences.ts";
import type { ExperimentContext } from "./definition.ts";
import type { OpenModel } from "./model-session.ts";
import type { MeasuredText } from "./original.ts";
import { sampledText } from "./sampled-text.ts";
import { type TextConfig, textSequences } from "./text.ts";

const EVERY = 4;

export interface Split {
  readonly calibrate: TokenSequence[];
  readonly heldOut: TokenSequence[];
}

/** Of fewer than four sequences the last is held out. Throws `input/invalid` for a single one, which cannot be shared. */
export function splitSequences(sequences: readonly TokenSequence[]): Split {
  if (sequences.length < 2) {
    throw new EspalierError("input/invalid", "the text gives only one sequence, so no part of it can be held out", {
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

/** The sequences that calibrate a compression, and those on which its loss is measured. */
export interface CalibrationText {
  readonly calibrate: TokenSequence[];
  /** The calibrating part in words. */
  readonly source: string;
  readonly heldOut: MeasuredText;
}

/** Enough for a KL within a few per cent, and seconds of work on a small model. */
const TOKENS = 12_288;
/** Short sequences are many for their tokens, which makes the standard error of a mean over them honest. */
const CONTEXT = 256;

/**
 * The text of a config in two parts; without a limit its first 12288 tokens serve. Without a text, what `model` writes itself: at most
 * `limit` texts, each cut to `context`.
 * `onShare` is called while it writes.
 */
export async function calibrationText(
  config: Omit<TextConfig, "text"> & { text?: string | undefined },
  model: OpenModel,
  context: ExperimentContext,
  onShare?: (share: number) => void,
): Promise<CalibrationText> {
  if (config.text === undefined)
    return fromSampled(await sampledText(model, config, context, onShare), basename(model.reference));
  const bounded = config.limit !== undefined || config.maxTokens !== undefined;
  const asked = { ...config, context: config.context ?? CONTEXT, ...(bounded ? {} : { maxTokens: TOKENS }) };
  const { sequences, protocol } = await textSequences({ ...asked, text: config.text }, model);
  const { calibrate, heldOut } = splitSequences(sequences);
  const source = `${tokensOf(calibrate)} tokens of ${basename(config.text)}`;
  return {
    calibrate,
    source,
    heldOut: { sequences: heldOut, protocol: `${protocol}; measured on ${everyFourth(heldOut)}` },
  };
}

function fromSampled(sequences: readonly TokenSequence[], name: string): CalibrationText {
  const { calibrate, heldOut } = splitSequences(sequences);
  return {
    calibrate,
    source: `${tokensOf(calibrate)} tokens that the model wrote itself`,
    heldOut: {
      sequences: heldOut,
      protocol: `${sequences.length} texts that ${name} wrote itself, ${tokensOf(sequences)} tokens predicted; measured on ${everyFourth(heldOut)}`,
    },
  };
}

const everyFourth = (heldOut: readonly TokenSequence[]): string => `every fourth of them, ${tokensOf(heldOut)} tokens`;
