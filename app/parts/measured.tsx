/** @file An interval on a small axis, for cells of a table. */
/** An interval on an axis it shares with its column. */
export function IntervalGlyph(props: {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly domain: readonly [number, number];
  readonly logarithmic?: boolean;
  readonly width?: number;
}) {
  const { domain, width = 112 } = props;
  const of = (v: number): number => (props.logarithmic ? Math.log(Math.max(v, 1e-12)) : v);
  const x = (v: number): number => {
    const span = of(domain[1]) - of(domain[0]);
    return 4 + (width - 8) * Math.max(0, Math.min(1, span > 0 ? (of(v) - of(domain[0])) / span : 0.5));
  };
  return (
    <svg width={width} height={16} aria-hidden="true">
      <path d={`M4 8H${width - 4}M4 5v6M${width / 2} 6v4M${width - 4} 5v6`} stroke="var(--line-2)" />
      <path d={`M${x(props.low)} 8H${x(props.high)}`} stroke="var(--ink)" strokeWidth={1.5} />
      <circle cx={x(props.value)} cy={8} r={3} fill="var(--ink)" />
    </svg>
  );
}
