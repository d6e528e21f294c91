import { expect, test } from "vitest";
import { typedConfig } from "./config-form.ts";

const schemas = {
  model: { type: "string" },
  bits: { type: "integer" },
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

test("several numbers or choices make an axis; what is no number is left for the server to refuse", () => {
  expect(typedConfig({ bits: "2, 3,4", scheme: "palette,affine" }, schemas).axes).toEqual({
    bits: { values: [2, 3, 4] },
    scheme: { values: ["palette", "affine"] },
  });
  expect(typedConfig({ bits: "four" }, schemas).config).toEqual({ bits: "four" });
});
