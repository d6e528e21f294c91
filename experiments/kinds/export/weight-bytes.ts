/** @file Bytes of the weights alone, from what a card says. */

/** Codes, scales, tables and fp16 values; the weight file of a package holds constants of the program too. */
export const weightBytesOf = ({ bitsPerWeight, parameters }: { bitsPerWeight: number; parameters: number }): number =>
  Math.round((bitsPerWeight * parameters) / 8);
