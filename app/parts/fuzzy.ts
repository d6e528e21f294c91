/**
 * @file How well a text answers a few typed letters: every letter in order, better where they start words or stand together.
 *
 * Null: it does not. An empty question is answered by everything alike.
 */
export function fuzzyScore(words: string, text: string): number | null {
  const [query, hay] = [words.toLowerCase().replace(/\s+/g, " ").trim(), text.toLowerCase()];
  if (query === "") return 0;
  const whole = hay.indexOf(query);
  if (whole >= 0) return 1000 - whole + (whole === 0 || /\W/.test(hay[whole - 1] ?? "") ? 200 : 0);
  let score = 0;
  let at = -1;
  for (const letter of query.replaceAll(" ", "")) {
    const next = hay.indexOf(letter, at + 1);
    if (next < 0) return null;
    const startsWord = next === 0 || /[^a-z0-9]/.test(hay[next - 1] ?? "");
    score += next === at + 1 ? 8 : startsWord ? 6 : 1 - Math.min(1, (next - at) / 40);
    at = next;
  }
  return score;
}
