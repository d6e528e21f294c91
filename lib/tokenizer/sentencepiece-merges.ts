/**
 * @file Byte-pair merges that do what SentencePiece's scores do.
 *
 * Reference: Kudo and Richardson 2018 (SentencePiece, BPE mode); llama.cpp's `llm_tokenizer_spm`. SentencePiece begins with single
 * characters and always joins the two neighbours whose concatenation is the piece of the highest score, the leftmost pair among equals.
 * A byte-pair model joins the pair of the lowest rank. Listing every way to cut each piece in two, by falling score of the whole,
 * gives ranks of the same order.
 *
 * Not included: pieces of equal score, which SentencePiece takes from left to right. Here the piece of the lower id comes first.
 */

/** Pairs `[left, right]`, best first. `ids`: of every piece that merging may use or make; `tokens` and `scores` by id. */
export function sentencePieceMerges(
  ids: readonly number[],
  tokens: readonly string[],
  scores: readonly number[],
): [string, string][] {
  const idOf = new Map<string, number>();
  for (const id of ids) idOf.set(tokens[id] ?? "", id);
  const best = ids.toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  const merges: [string, string][] = [];
  for (const id of best) {
    const text = tokens[id] ?? "";
    // A cut inside a surrogate pair leaves two halves that no piece has. Longer left parts first, as transformers orders them.
    for (let at = text.length - 1; at >= 1; at--) {
      const left = idOf.get(text.slice(0, at));
      if (left === undefined) continue;
      const right = idOf.get(text.slice(at));
      // The tokens themselves and not what was cut, so that half a million pairs share their texts.
      if (right !== undefined) merges.push([tokens[left] ?? "", tokens[right] ?? ""]);
    }
  }
  return merges;
}
