import { expect, test } from "vitest";
import { timeLeft } from "./time-left.ts";

test("a steady pace leaves one answer", () => {
  const samples = Array.from({ length: 6 }, (_, i) => ({ atMs: 1000 * i, share: 0.1 * i }));
  const left = timeLeft(samples);
  expect(left?.lowSeconds).toBeCloseTo(5, 9);
  expect(left?.highSeconds).toBeCloseTo(5, 9);
});

test("a pace that slows down widens the range", () => {
  const samples = [0, 0.2, 0.4, 0.45, 0.5].map((share, i) => ({ atMs: 1000 * i, share }));
  const left = timeLeft(samples);
  expect(left?.lowSeconds).toBeCloseTo(0.5 / 0.2, 9);
  expect(left?.highSeconds).toBeCloseTo(0.5 / 0.05, 9);
});

test("nothing is guessed early, from too little, or when nothing moves", () => {
  expect(timeLeft([])).toBeNull();
  expect(timeLeft([0, 0.01, 0.02].map((share, i) => ({ atMs: i, share })))).toBeNull();
  expect(timeLeft([0.5, 0.6].map((share, i) => ({ atMs: i, share })))).toBeNull();
  expect(timeLeft([0.5, 0.5, 0.5].map((share, i) => ({ atMs: i, share })))).toBeNull();
});
