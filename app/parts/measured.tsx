/** @file A number with its sign, its error, and whether it is within noise. */
import { fixed, signed } from "./format.ts";

export interface MeasuredProps {
  readonly value: number;
  /** One standard error, in the unit of the value. */
  readonly standardError: number;
  readonly digits: number;
  /** Multiplies both, for a unit of 10⁻³. */
  readonly times?: number;
  /** Coloured when it is outside the noise: growing hurts, or growing helps. */
  readonly tone?: "up-hurts" | "up-helps";
}

/** A difference with its standard error; coloured only outside the noise. */
export function Difference({ value, standardError, digits, times = 1, tone }: MeasuredProps) {
  const isNoise = Math.abs(value) < 2 * standardError;
  const isWorse = tone === "up-hurts" ? value > 0 : value < 0;
  const name = tone === undefined || isNoise ? undefined : isWorse ? "hurt" : "help";
  return (
    <span style={{ whiteSpace: "nowrap" }} className={name}>
      {signed(value * times, digits)} <span className="soft">± {fixed(standardError * times, digits)}</span>
      {isNoise ? <span className="soft"> within noise</span> : null}
    </span>
  );
}

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
