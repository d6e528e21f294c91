/**
 * @file Whether the ids of two tokenizers mean the same tokens.
 *
 * Logits of two models can be compared, and one can teach the other, only when id i stands for one text in both. Sizes do not say
 * that: two vocabularies trained apart may have as many tokens. An id that only one of them names is not a difference, because
 * embeddings are padded, and padding is named by some files (GGUF) and not by others; nor is a space written as SentencePiece's ▁,
 which GGUF files do not do in added tokens.
 */

export interface VocabularyDifference {
  /** The first id that means two things, and what. */
  readonly id: number;
  readonly first: string;
  readonly second: string;
  /** How many such ids there are. */
  readonly count: number;
}

/** Null where no id means two things. Both map tokens to ids. */
export function vocabularyDifference(
  first: ReadonlyMap<string, number>,
  second: ReadonlyMap<string, number>,
): VocabularyDifference | null {
  const named = new Map([...second].map(([token, id]) => [id, token]));
  let found: Omit<VocabularyDifference, "count"> | null = null;
  let count = 0;
  for (const [token, id] of first) {
    const other = named.get(id);
    if (other === undefined || plain(other) === plain(token)) continue;
    count++;
    if (!found || id < found.id) found = { id, first: token, second: other };
  }
  return found && { ...found, count };
}

const plain = (token: string): string => token.replaceAll("▁", " ");
