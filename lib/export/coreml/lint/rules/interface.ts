/**
 * @file Rules on the interface: what the model's description says of inputs, outputs, states and functions.
 *
 * Reference: InterfaceValidators.cpp of apple/coremltools (mlmodel/src/Validation), whose rules these are.
 */

import { dtypeOfFeature, dtypeOfMil } from "../../../../formats/coreml/element-types.ts";
import {
  ArrayFeatureType_ArrayDataType as ArrayDataType,
  type ArrayFeatureType,
} from "../../../../formats/coreml/generated/feature-types_pb.ts";
import type * as mil from "../../../../formats/coreml/generated/mil_pb.ts";
import type { FeatureDescription } from "../../../../formats/coreml/generated/model_pb.ts";
import type { PackageFiles } from "../../../../formats/coreml/package-reader.ts";
import { since } from "../../../../formats/coreml/targets.ts";
import { fileRule } from "../found.ts";
import type { FileRule, Found } from "../rule.ts";

const SOURCE = "apple/coremltools mlmodel/src/Validation/InterfaceValidators.cpp";

interface Interface {
  readonly function: string;
  readonly input: readonly FeatureDescription[];
  readonly output: readonly FeatureDescription[];
  readonly state: readonly FeatureDescription[];
}

/** Per function when there are several; the model's own otherwise. */
function interfaces({ message }: PackageFiles): Interface[] {
  const d = message.description;
  if (!d) return [];
  const own = { function: "main", input: d.input, output: d.output, state: d.state };
  const functions = d.functions.map(({ name, input, output, state }) => ({ function: name, input, output, state }));
  return functions.length > 0 ? functions : [own];
}

const isMulti = ({ message }: PackageFiles): boolean =>
  (message.description?.functions.length ?? 0) > 0 || (message.description?.defaultFunctionName ?? "") !== "";

const arrayOf = (d: FeatureDescription): ArrayFeatureType | null => {
  const type = d.type?.type;
  if (type?.case === "multiArrayType") return type.value;
  if (type?.case === "stateType" && type.value.type.case === "arrayType") return type.value.type.value;
  return null;
};

const found = (where: string | null, names: string[], message: string): Found => ({
  function: where,
  operations: names,
  message,
});

const topLevel = fileRule({
  id: "interface/top-level-empty",
  severity: "error",
  title: "A model of several functions has no interface of its own",
  why: "With functions, inputs, outputs and states belong to each function; Core ML refuses a model that also has its own.",
  fix: "Leave the top-level input, output, state, prediction and training fields empty.",
  source: SOURCE,
  units: "any",
  check(files) {
    if (!isMulti(files)) return null;
    const d = files.message.description;
    const extra = [...(d?.input ?? []), ...(d?.output ?? []), ...(d?.state ?? []), ...(d?.trainingInput ?? [])];
    const predicted = [d?.predictedFeatureName ?? "", d?.predictedProbabilitiesName ?? ""].filter((n) => n !== "");
    const names = [...extra.map((f) => f.name), ...predicted];
    return names.length === 0
      ? []
      : [found(null, names, `${names.join(", ")} at the top level of a model with functions`)];
  },
});

const functionTable = fileRule({
  id: "interface/function-table",
  severity: "error",
  title: "The described functions are those of the program",
  why: "Core ML looks a function up by the name in the description; the default must be one of them, and several functions need specification 9.",
  fix: "Describe every function once under its program name and name one of them as the default.",
  source: SOURCE,
  units: "any",
  check(files) {
    const { message, milProgram } = files;
    const d = message.description;
    const inProgram = Object.keys(milProgram.functions);
    if (!isMulti(files))
      return inProgram.includes("main")
        ? []
        : [found(null, inProgram, `one interface, but the program has ${inProgram.join(", ")} and no function main`)];
    const described = d?.functions.map((f) => f.name) ?? [];
    const problems: string[] = [];
    for (const name of described) if (!inProgram.includes(name)) problems.push(`${name} is described and not there`);
    for (const name of inProgram) if (!described.includes(name)) problems.push(`${name} is there and not described`);
    if (new Set(described).size !== described.length) problems.push("a function is described twice");
    if (!described.includes(d?.defaultFunctionName ?? ""))
      problems.push(`the default function "${d?.defaultFunctionName}" is not described`);
    if (message.specificationVersion < since.functions)
      problems.push(`specification ${message.specificationVersion}, ${since.functions} is needed`);
    return problems.length === 0 ? [] : [found(null, described, problems.join("; "))];
  },
});

const elementType = (number: number): string =>
  Object.entries(ArrayDataType).find(([, n]) => n === number)?.[0] ?? String(number);

function featureProblem(d: FeatureDescription, specificationVersion: number): string | null {
  if (d.name === "") return "a feature without a name";
  const array = arrayOf(d);
  if (!array) return `${d.name} has no type Core ML knows for a program`;
  if (array.shape.some((n) => n < 0n)) return `${d.name} has a negative dimension`;
  if (array.shape.length === 0 && array.shapeFlexibility.case === undefined) return `${d.name} has no shape`;
  const { dataType } = array;
  if (dataType === ArrayDataType.FLOAT16 && specificationVersion < since.fp16Features)
    return `${d.name} is fp16 before specification ${since.fp16Features}`;
  if (dataType === ArrayDataType.INT8 && specificationVersion < since.int8Features)
    return `${d.name} is int8 before specification ${since.int8Features}`;
  if (!dtypeOfFeature.has(dataType)) return `${d.name} has the element type ${elementType(dataType)}`;
  return null;
}

const features = fileRule({
  id: "interface/features",
  severity: "error",
  title: "Inputs and outputs are named, typed and shaped",
  why: "Core ML's validator wants a name, a type, dimensions from 0 up and an element type of its list: fp16, fp32 or int32.",
  fix: "Give every input and output a name, a fixed shape and one of these element types.",
  source: SOURCE,
  units: "any",
  check: (files) =>
    interfaces(files).flatMap((i) => {
      // Outputs that depend on an open dimension have no shape of their own.
      const open = i.input.some((d) => arrayOf(d)?.shapeFlexibility.case !== undefined);
      const shaped = open ? i.output.filter((d) => arrayOf(d)?.shape.length !== 0) : i.output;
      const problems = [...i.input, ...shaped].flatMap(
        (d) => featureProblem(d, files.message.specificationVersion) ?? [],
      );
      const names = [...i.input, ...i.output].map((d) => d.name);
      const twice = names.find((n, at) => n !== "" && names.indexOf(n) !== at);
      if (twice) problems.push(`${twice} is described twice`);
      return problems.length === 0 ? [] : [found(i.function, [], problems.join("; "))];
    }),
});

const flexibility = fileRule({
  id: "interface/fixed-shapes",
  severity: "warning",
  title: "The interface fixes every shape",
  why: "Range dimensions run on CPU and GPU only; mixing fixed with flexible inputs fails in stateful models, where this is an error.",
  fix: "One function per shape.",
  source: "apple/coremltools issue 2548; apple/coreai-models neural engine rules",
  units: "any",
  check: (files) =>
    interfaces(files).flatMap((i) => {
      const flexible = [...i.input, ...i.output, ...i.state].filter(
        (d) => arrayOf(d)?.shapeFlexibility.case !== undefined,
      );
      const names = flexible.map((d) => d.name);
      return names.length === 0
        ? []
        : [
            {
              ...found(i.function, names, `${names.join(", ")} may change shape`),
              ...(i.state.length > 0 ? { severity: "error" as const } : {}),
            },
          ];
    }),
});

const optional = fileRule({
  id: "interface/optional-inputs",
  severity: "warning",
  title: "No input is optional",
  why: "An input left out takes its default value silently; a decoder fed a default position or mask writes text that looks plausible.",
  fix: "Make the input required; keep defaults in the host.",
  source: SOURCE,
  units: "any",
  check: (files) =>
    interfaces(files).flatMap((i) => {
      const names = i.input.filter((d) => d.type?.isOptional).map((d) => d.name);
      return names.length === 0 ? [] : [found(i.function, names, `${names.join(", ")} may be left out`)];
    }),
});

function stateProblem(d: FeatureDescription, specificationVersion: number): string | null {
  const array = arrayOf(d);
  if (specificationVersion < since.states) return `${d.name} is a state before specification ${since.states}`;
  if (d.type?.type.case !== "stateType" || !array) return `${d.name} is not described as a state`;
  if (d.type.isOptional) return `${d.name} is optional`;
  if (array.shape.length === 0) return `${d.name} has no shape`;
  if (array.defaultValue.case !== undefined) return `${d.name} has a default value`;
  if (array.dataType !== ArrayDataType.FLOAT16) return `${d.name} is ${elementType(array.dataType)}, states are fp16`;
  return null;
}

const stateFeatures = fileRule({
  id: "interface/states",
  severity: "error",
  title: "States are fp16 with a fixed shape",
  why: "A state needs specification 9, an explicit shape, no default, and fp16: coremltools refuses all else, the run time is untested with it.",
  fix: "Describe states in the state list as fp16 arrays.",
  source: `${SOURCE}; apple/coremltools backend/mil/load.py`,
  units: "any",
  check(files) {
    const all = interfaces(files);
    const stray = (i: Interface): FeatureDescription[] =>
      [...i.input, ...i.output].filter((d) => d.type?.type.case === "stateType");
    if (all.every((i) => i.state.length + stray(i).length === 0)) return null;
    return all.flatMap((i) => {
      const problems = [
        ...i.state.flatMap((d) => stateProblem(d, files.message.specificationVersion) ?? []),
        ...stray(i).map((d) => `${d.name} is a state among inputs and outputs`),
      ];
      return problems.length === 0 ? [] : [found(i.function, [], problems.join("; "))];
    });
  },
});

const outputTypes = ({ fn, block }: { fn: mil.Function; block: mil.Block }): Map<string, mil.ValueType | undefined> =>
  new Map([...fn.inputs, ...block.operations.flatMap((op) => op.outputs)].map((v) => [v.name, v.type]));

function disagreement(d: FeatureDescription, type: mil.ValueType | undefined): string | null {
  const array = arrayOf(d);
  const inner = type?.type.case === "stateType" ? type.type.value.wrappedType : type;
  const tensor = inner?.type.case === "tensorType" ? inner.type.value : null;
  const said = array ? dtypeOfFeature.get(array.dataType) : undefined;
  // What is not even legal is another rule's.
  if (type?.type.case === "stateType" && said !== "fp16") return null;
  if (!array || !tensor || !said || array.shapeFlexibility.case !== undefined || array.shape.length === 0) return null;
  if (tensor.dimensions.some((x) => x.dimension.case !== "constant") || array.shape.some((n) => n < 0n)) return null;
  const actual = tensor.dimensions.map((x) => (x.dimension.case === "constant" ? x.dimension.value.size : 0n));
  const shape = actual.length === 0 ? [1n] : actual;
  const dtype = dtypeOfMil.get(tensor.dataType);
  const same = said === dtype && shape.length === array.shape.length && shape.every((n, i) => n === array.shape[i]);
  return same ? null : `${d.name} is described ${said}[${array.shape.join(", ")}] and is ${dtype}[${shape.join(", ")}]`;
}

const matches = fileRule({
  id: "interface/matches-program",
  severity: "error",
  title: "The description says what the program is",
  why: "Core ML allocates buffers from the description and fills them from the program.",
  fix: "Write both from one source; the writer here does.",
  source: "apple/coremltools converters/mil/backend/mil/load.py",
  units: "any",
  check(files) {
    return interfaces(files).flatMap((i) => {
      const fn = files.milProgram.functions[i.function];
      const block = fn?.blockSpecializations[fn.opset];
      if (!fn || !block) return [];
      const types = outputTypes({ fn, block });
      const isState = (v: mil.NamedValueType): boolean => v.type?.type.case === "stateType";
      const problems: string[] = [];
      const compare = (what: string, said: readonly FeatureDescription[], actual: readonly string[]): void => {
        for (const d of said) {
          if (d.name === "") continue;
          if (!actual.includes(d.name)) problems.push(`there is no ${what} ${d.name}`);
          else problems.push(...[disagreement(d, types.get(d.name)) ?? []].flat());
        }
        for (const n of actual) if (!said.some((d) => d.name === n)) problems.push(`${what} ${n} is not described`);
      };
      const states = fn.inputs.filter(isState).map((v) => v.name);
      // A state described among the inputs is the state rule's finding.
      const inputs = i.input.filter((d) => d.type?.type.case !== "stateType");
      const strays = i.input.filter((d) => d.type?.type.case === "stateType").map((d) => d.name);
      const tensors = fn.inputs.filter((v) => !isState(v)).map((v) => v.name);
      compare("input", inputs, tensors);
      compare("output", i.output, block.outputs);
      compare(
        "state",
        i.state,
        states.filter((n) => !strays.includes(n)),
      );
      return problems.length === 0 ? [] : [found(i.function, [], problems.join("; "))];
    });
  },
});

export const interfaceRules: readonly FileRule[] = [
  topLevel,
  functionTable,
  features,
  flexibility,
  optional,
  stateFeatures,
  matches,
];
