import { expect, test } from "vitest";
import { type ReleasedModel, releasedModels } from "../../../test/fixtures/released-configs.ts";
import { parameterCount } from "../weights.ts";
import { architectureOf } from "./registry.ts";

test.each(Object.entries<ReleasedModel>(releasedModels))(
  "%s has the published number of parameters",
  (_name, model) => {
    expect(parameterCount(architectureOf(model.config))).toBe(model.parameters);
  },
);
