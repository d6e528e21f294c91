import { expect, test } from "vitest";
import {
  cloneChanges,
  fieldIssue,
  fieldText,
  firstConfig,
  gridSize,
  sweepCommand,
  typedConfig,
} from "./config-form.ts";

const schemas = {
  model: { type: "string" },
  bits: { type: "integer", default: 4 },
  rate: { type: "number", exclusiveMinimum: 0 },
  share: { type: "number", minimum: 0, maximum: 1 },
  scheme: { type: "string", enum: ["palette", "affine"] },
  drop: { type: "array", items: { type: "string" } },
  contexts: { type: "array", items: { type: "integer" } },
  asymmetric: { type: "boolean" },
  separator: { type: "string" },
};

test("single values make a config, empty fields none, lists stay lists", () => {
  expect(
    typedConfig(
      {
        model: "m, n",
        bits: "4",
        drop: "L0.H1, L2.H3",
        contexts: "64, 512",
        asymmetric: "true",
        scheme: "",
        separator: "\\n\\n",
      },
      schemas,
    ),
  ).toEqual({
    config: {
      model: "m, n",
      bits: 4,
      drop: ["L0.H1", "L2.H3"],
      contexts: [64, 512],
      asymmetric: true,
      separator: "\n\n",
    },
    axes: {},
  });
});

test("several numbers or choices make an axis, two ends a range; what is no number is left for the server to refuse", () => {
  expect(typedConfig({ bits: "2, 3,4", scheme: "palette,affine", asymmetric: "false,true" }, schemas).axes).toEqual({
    bits: { values: [2, 3, 4] },
    scheme: { values: ["palette", "affine"] },
    asymmetric: { values: [false, true] },
  });
  const { axes } = typedConfig({ rate: "1e-4..1e-2 x7", bits: "2..8" }, schemas);
  expect(axes).toEqual({
    rate: { from: 1e-4, to: 1e-2, scale: "logarithmic", integer: false, points: 7 },
    bits: { from: 2, to: 8, scale: "linear", integer: true, points: 5 },
  });
  expect(gridSize(axes)).toBe(35);
  expect(firstConfig({ config: { model: "m" }, axes })).toEqual({ model: "m", rate: 1e-4, bits: 2 });
  expect(typedConfig({ bits: "four" }, schemas).config).toEqual({ bits: "four" });
});

test("a field says what is wrong with it", () => {
  expect(fieldIssue("four", schemas.bits)).toBe("“four” is not a number");
  expect(fieldIssue("2.5", schemas.bits)).toBe("2.5 is not a whole number");
  expect(fieldIssue("0", schemas.rate)).toBe("greater than 0, not 0");
  expect(fieldIssue("0, 0.5, 1", schemas.share)).toBeNull();
  expect(fieldIssue("0.5..2", schemas.share)).toBe("at most 1, not 2");
  expect(fieldIssue("palette, gptq", schemas.scheme)).toBe("“gptq” is not one of palette, affine");
  expect(fieldIssue("", schemas.rate)).toBeNull();
});

test("a config fills the form and a clone says what it changes", () => {
  expect(fieldText(4, schemas.bits)).toBe("");
  expect(fieldText(["a", "b"], schemas.drop)).toBe("a, b");
  expect(fieldText("\n\n", schemas.separator)).toBe("\\n\\n");
  const before = { model: "m", bits: 4, rate: 0.1 };
  expect(cloneChanges(before, { model: "m", rate: 0.2 }, schemas)).toEqual({ rate: 0.2 });
  expect(cloneChanges(before, { model: "m", bits: 2 }, schemas)).toEqual({ bits: 2, rate: null });
});

test("the command of a sweep is its definition", () => {
  expect(sweepCommand({ title: "a b", kind: "quantize", axes: { bits: { values: [2] } } })).toBe(
    `npm run -s espalier -- api sweeps create --title 'a b' --kind quantize --axes '{"bits":{"values":[2]}}'`,
  );
});
