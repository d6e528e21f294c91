/** @file The address of the page of a head. */
import { findUnit } from "../../lib/units.ts";

/** `/models/starter/heads/3/5`, with the text its numbers are taken on; null for what is not a head. */
export function headAddress(model: string, unit: string, text: string | null): string | null {
  const head = findUnit(unit);
  if (head?.kind !== "heads") return null;
  const path = `/models/${encodeURIComponent(model)}/heads/${head.layer}/${head.index}`;
  return text === null ? path : `${path}?text=${encodeURIComponent(text)}`;
}
