/** @file Whether a measured difference can be told from zero. */

/** Within two standard errors of 0. */
export const isNoise = ({
  value,
  standardError,
}: {
  readonly value: number;
  readonly standardError: number;
}): boolean => Math.abs(value) < 2 * standardError;
