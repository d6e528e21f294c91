import { expect, test } from "vitest";
import { mostInDoubt } from "./doubt.ts";

test("units next to the border are in doubt, decided ones are not, and an uncertain one comes before a certain one as near", () => {
  // Predicted losses −g: 0.1, 0.2, 0.3 | 0.4, 0.9, 2; with half of them to go the border is 0.35.
  const gradients = [0.1, 0.2, 0.3, 0.4, 0.9, 2].map((p) => [-p, -p]);
  expect(mostInDoubt(gradients, 0.5, 2).sort()).toEqual([2, 3]);
  expect(mostInDoubt(gradients, 0.5, 99)).toHaveLength(6);
  // The border moves with the share: between 0.9 and 2.
  expect(mostInDoubt(gradients, 0.84, 2).sort()).toEqual([4, 5]);
  // Predicted 0, 1 | 3, 4 and the border at 2: the third is as near as the second, but its sequences disagree.
  const uncertain = [
    [0, 0],
    [-1, -1],
    [-7, 1],
    [-4, -4],
  ];
  expect(mostInDoubt(uncertain, 0.5, 1)).toEqual([2]);
  expect(mostInDoubt([[1]], 0.25, 3)).toEqual([0]);
  expect(mostInDoubt([], 0.25, 3)).toEqual([]);
});
