/** @file A question about a passage, with four answers of one kind. */
import type { Rng } from "../../../lib/random.ts";

export interface Question {
  readonly kind: string;
  readonly question: string;
  /** Each with a leading space, as it follows "Answer:". */
  readonly choices: readonly string[];
  /** The right one. */
  readonly answer: number;
}

/** `count` different items. */
export function several<T>(rng: Rng, items: readonly T[], count: number): T[] {
  return rng.shuffle(items).slice(0, count);
}

/** The right answer among three others of its kind, in random order. `say` turns an item into an answer. */
export function question(
  rng: Rng,
  kind: string,
  text: string,
  right: string,
  kindred: readonly string[],
  say: (item: string) => string = (item) => item,
): Question {
  const others = several(
    rng,
    kindred.filter((item) => item !== right),
    3,
  );
  const order = rng.shuffle([right, ...others]);
  return { kind, question: text, choices: order.map((item) => ` ${say(item)}`), answer: order.indexOf(right) };
}
