import { expect, test } from "vitest";
import { bytes, count, duration, moment, percent, plain, signed, small } from "./format.ts";

test("numbers are grouped by thin spaces and negative ones have a true minus", () => {
  expect(count(1905024)).toBe("1\u2009905\u2009024");
  expect(count(-1234)).toBe("−1\u2009234");
  expect(count(999)).toBe("999");
  expect(signed(-0.5, 1)).toBe("−0.5");
  expect(signed(2, 1)).toBe("+2.0");
  expect(percent(0.345)).toBe("34.5\u2009%");
});

test("bytes are SI, durations are in what people say", () => {
  expect([12, 1_500, 2_345_678, 9.3e9].map(bytes)).toEqual([
    "12\u2009B",
    "1.5\u2009kB",
    "2.35\u2009MB",
    "9.30\u2009GB",
  ]);
  expect([0.25, 42, 600, 9000].map(duration)).toEqual(["0.3\u2009s", "42\u2009s", "10\u2009min", "2.5\u2009h"]);
  expect([3, 1234.5678, 0.01234].map(plain)).toEqual(["3", "1234.6", "0.012340"]);
});

test("a moment is written in one way: the day where it is not today, the year where it is not this one", () => {
  const now = new Date(2026, 10, 30, 20, 0).getTime();
  expect(moment(new Date(2026, 10, 30, 18, 54), now)).toBe("18:54");
  expect(moment(new Date(2026, 0, 2, 8, 5), now)).toBe("2 Jan, 08:05");
  expect(moment(new Date(2025, 11, 31, 23, 59), now)).toBe("31 Dec 2025, 23:59");
});

test("what is very small is a power of ten, with as many figures as are asked for", () => {
  expect(small(0.0412)).toBe("0.041");
  expect(small(0.00000724)).toBe("7.2·10⁻⁶");
  expect(small(1e-5, 1)).toBe("10⁻⁵");
  expect(small(-2e-12, 1)).toBe("−2·10⁻¹²");
  expect(small(0)).toBe("0");
});
