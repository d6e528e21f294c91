/** @file Numbers as they stand on pages: thin spaces, true minus, signs on differences, SI bytes. */
import { byteSize } from "../../lib/number-text.ts";

const THIN = "\u2009";
const grouped = (digits: string): string => digits.replace(/\B(?=(\d{3})+(?!\d))/g, THIN);

export function count(n: number): string {
  const text = String(Math.abs(Math.round(n)));
  return `${n < 0 ? "−" : ""}${text.length > 3 ? grouped(text) : text}`;
}

export const fixed = (v: number, digits: number): string => `${v < 0 ? "−" : ""}${Math.abs(v).toFixed(digits)}`;

/** With its sign, also when positive. */
export const signed = (v: number, digits: number): string => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(digits)}`;

export const percent = (share: number, digits = 1): string => `${fixed(share * 100, digits)}${THIN}%`;

export const bytes = (n: number): string => byteSize(n, THIN);

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)}${THIN}s`;
  if (seconds < 90) return `${Math.round(seconds)}${THIN}s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)}${THIN}min` : `${(seconds / 3600).toFixed(1)}${THIN}h`;
}

const raised = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A number that may be very small: two figures, below a thousandth as `7.2·10⁻⁶`. */
export function small(v: number, figures = 2): string {
  if (v === 0 || Math.abs(v) >= 1e-3) return Number(v.toPrecision(figures)).toString().replace("-", "−");
  const [mantissa, exponent] = Math.abs(v)
    .toExponential(figures - 1)
    .split("e-");
  const power = `10⁻${[...(exponent ?? "")].map((d) => raised[Number(d)]).join("")}`;
  return `${v < 0 ? "−" : ""}${Number(mantissa) === 1 && figures === 1 ? power : `${mantissa}·${power}`}`;
}

const inWords = (at: Date, parts: Intl.DateTimeFormatOptions): string => at.toLocaleString("en-GB", parts);

/** The one way a moment is written: `18:54` today, `30 Nov, 18:54` this year, `30 Nov 2025, 18:54` before that. */
export function moment(given: string | number | Date, nowMs: number = Date.now()): string {
  const [at, now] = [new Date(given), new Date(nowMs)];
  const time = inWords(at, { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === now.toDateString()) return time;
  const isThisYear = at.getFullYear() === now.getFullYear();
  return `${inWords(at, { day: "numeric", month: "short", ...(isThisYear ? {} : { year: "numeric" }) })}, ${time}`;
}

/** Six figures at most, for numbers whose unit the reader knows. */
export const plain = (v: number): string =>
  Number.isInteger(v) ? count(v) : fixed(v, Math.min(6, Math.max(0, 4 - Math.floor(Math.log10(Math.abs(v) || 1)))));
