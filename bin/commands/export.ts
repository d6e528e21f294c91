/** @file `espalier export`. */

import type { Command } from "commander";
import type { CoremlCard, ExportCard, GgufCard, MlxCard } from "../../experiments/kinds/export/card.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { weightBytesOf } from "../../experiments/kinds/export/weight-bytes.ts";
import { EspalierError } from "../../lib/errors.ts";
import { byteSize } from "../../lib/number-text.ts";
import { lintCounts, modelledLines } from "../device-text.ts";
import { count, fixed, percent } from "../numbers.ts";

import { addExperimentCommand } from "./experiment-command.ts";

const verdicts: Readonly<Record<ExportCard["status"], string>> = {
  ready: "ready",
  "not-ready": "NOT READY",
  unexecuted: "NOT RUN HERE",
};

const tiesText = (ties: ExportCard["parity"]["greedyTies"]): string =>
  ties.length === 0
    ? ""
    : `, ${ties.length === 1 ? "one tie" : `${ties.length} ties`} that fp16 cannot decide not counted,`;

/** What sizes are compared with. */
const against = ({ good, fp16Bytes, parameters }: ExportCard): string =>
  `${good?.origin && fp16Bytes !== 2 * parameters ? good.origin.name : "the same"} in fp16 (${byteSize(fp16Bytes)})`;

export function cardText(card: ExportCard): string {
  return [
    `${verdicts[card.status]}: ${card.file}`,
    ...card.reasons.map((reason) => `why not          ${reason}`),
    ...readinessText(card),
    `weights          ${byteSize(weightBytesOf(card))}, ${fixed(card.bitsPerWeight, 3)} bits each; ${fixed(card.fp16Bytes / weightBytesOf(card), 2)} times smaller than ${against(card)}`,
    `package          ${byteSize(card.sizeBytes)}, as predicted, weights and programs; ${fixed(card.timesSmallerThanFp16, 2)} times smaller`,
    ...card.notes.map((note) => `stored           ${note}`),
    ...targetText(card),
    `run here         ${{ whole: "yes", "by-parts": "yes, part by part", none: "NO" }[card.execution.kind]}: ${card.execution.explanation}`,
    ...(card.execution.kind === "none" ? [] : parityText(card)),
    ...checksText(card),
    `not checked here ${card.notChecked.join("; ")}`,
  ].join("\n");
}

function targetText(card: ExportCard): string[] {
  switch (card.to) {
    case "coreml":
      return coremlText(card);
    case "gguf":
      return [`architecture     ${card.architecture}`, ...typesText(card)];
    case "mlx":
      return typesText(card);
  }
}

function checksText(card: ExportCard): string[] {
  switch (card.to) {
    case "coreml":
      return [
        ...headroomText(card),
        `read back        ${count(card.constantsCompared)} constants, bit for bit`,
        `lint             ${lintCounts(card.lint)}; \`espalier inspect --lint\` names them`,
        ...modelledLines(card.modelled),
      ];
    case "gguf":
      return [
        `read back        ${count(card.tensorsCompared)} tensors, bit for bit; the token ids of ${count(card.textsCompared)} texts`,
        `run it           llama-cli -m ${card.file}`,
      ];
    case "mlx":
      return [`run it           mlx_lm.generate --model ${card.file} --prompt "Once upon a time"`];
  }
}

function coremlText(card: CoremlCard): string[] {
  const several =
    card.kind === "package" ? [] : card.parts.map((p) => `  ${p.file}: ${p.holds}, weights ${byteSize(p.weightBytes)}`);
  return [
    `functions        ${card.functions.join(", ")}, ${card.layout} layout, ${card.target}`,
    ...(several.length > 0 ? [`packages         ${several.length}`, ...several] : []),
  ];
}

const fidelities: Readonly<Record<GgufCard["types"][number]["fidelity"], string>> = {
  kept: "unchanged",
  rounded: "rounded",
  quantized: "quantized",
};

const typesText = ({ types }: GgufCard | MlxCard): string[] =>
  types.map(
    (t) => `tensors          ${count(t.tensors)} in ${t.type}, ${fidelities[t.fidelity]}, ${byteSize(t.sizeBytes)}`,
  );

/** The two checks that readiness needs. */
export function readinessText({ faithful, good }: Pick<ExportCard, "faithful" | "good">): string[] {
  const word = (ok: boolean | null): string => (ok === null ? "not known" : ok ? "yes" : "NO");
  return [
    ...(faithful ? [`faithful         ${word(faithful.ok)}: the package computes what its model computes`] : []),
    ...(good ? [`good             ${word(good.ok)}: ${good.reason}`] : []),
  ];
}

function parityText({ parity: p }: ExportCard): string[] {
  return [
    `greedy text      ${p.greedyIdentical ? `${p.greedyTokens} tokens identical${tiesText(p.greedyTies)}` : `differs at token ${p.greedyFirstDifference}`} to the fp32 model with the same weights`,
    `logits           largest difference ${p.maxLogitDifference.toExponential(1)} of ${fixed(p.largestLogit, 1)} over ${p.positions} positions`,
    `KL, same top     ${p.meanKl.toExponential(1)} nats, ${percent(p.topAgreement)}`,
  ];
}

function headroomText({ headroom, scaling }: CoremlCard): string[] {
  if (!headroom) return [];
  const scaled = scaling
    ? `, stream scaled by ${scaling.stream} (without: ${fixed(scaling.worstWithout, 2)} times)`
    : "";
  return [`fp16 headroom    ${fixed(headroom.worst, 1)} times over ${headroom.positions} positions${scaled}`];
}

export function addExport(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "export",
    summary:
      "Write a Core ML package, a GGUF file or an MLX folder, read it back, execute it here and compare it with the model",
    example: "espalier export small --to coreml --out package --text report.txt",
    positional: ["model"],
    experiment: exportExperiment,
    print: (s) => `${cardText(s.card)}\nwritten to       ${s.out}`,
    json: (s) => s.card,
    failure: ({ card }) =>
      card.status === "not-ready"
        ? new EspalierError(
            card.faithful?.ok === false ? "export/parity" : "export/quality",
            `the package is not ready and was kept as ${card.file}`,
            {
              hint: card.reasons.join("; "),
            },
          )
        : null,
  });
}
