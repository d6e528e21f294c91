/** @file The colour and dash of the nth compared run; the same in the table, the comparison and every line. */

export const dashes = ["", "6 3", "2 3", "8 3 2 3", "1.5 3", "10 4"] as const;
export const seriesColour = (index: number): string => `var(--d${(index % 6) + 1})`;
export const seriesDash = (index: number): string | undefined => dashes[index % 6] || undefined;

export function SeriesKey({ index, width = 24 }: { index: number; width?: number }) {
  return (
    <svg width={width} height={8} aria-hidden="true" style={{ flex: "none" }}>
      <path
        d={`M0 4H${width}`}
        fill="none"
        stroke={seriesColour(index)}
        strokeWidth={2.5}
        strokeDasharray={seriesDash(index)}
      />
    </svg>
  );
}
