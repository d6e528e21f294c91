/**
 * @file Where the weights of a model are in a Hugging Face checkpoint: each in its own tensor, or
 * as rows of a shared one.
 *
 * Names are those of Llama unless the family gives others. A weight in a shared tensor also has its
 * own name, because a compressed weight has its own codes and scales and is stored alone.
 */
import { invariant } from "../../errors.ts";
import type { DecoderArchitecture, GlobalTensor, LayerTensor } from "../architecture.ts";
import { type WeightEntry, weightList } from "../weights.ts";
import { familyOfArchitecture } from "./registry.ts";

export interface StoredPlace {
  /** Its name when stored alone. */
  readonly name: string;
  /** The tensor that it shares with others, by rows; null where it has its own. */
  readonly shared: { readonly name: string; readonly firstRow: number; readonly rows: number } | null;
}

const globalNames: Record<GlobalTensor, string> = {
  embedding: "model.embed_tokens.weight",
  finalNorm: "model.norm.weight",
  head: "lm_head.weight",
  perLayerEmbedding: "model.embed_tokens_per_layer.weight",
  perLayerContext: "model.per_layer_model_projection.weight",
  perLayerContextNorm: "model.per_layer_projection_norm.weight",
};

const layerNames: Record<LayerTensor, string> = {
  attentionNorm: "input_layernorm.weight",
  postAttentionNorm: "post_attention_layernorm.weight",
  mlpNorm: "post_attention_layernorm.weight",
  postMlpNorm: "post_feedforward_layernorm.weight",
  queryNorm: "self_attn.q_norm.weight",
  keyNorm: "self_attn.k_norm.weight",
  query: "self_attn.q_proj.weight",
  key: "self_attn.k_proj.weight",
  value: "self_attn.v_proj.weight",
  output: "self_attn.o_proj.weight",
  gate: "mlp.gate_proj.weight",
  up: "mlp.up_proj.weight",
  down: "mlp.down_proj.weight",
  queryBias: "self_attn.q_proj.bias",
  keyBias: "self_attn.k_proj.bias",
  valueBias: "self_attn.v_proj.bias",
  outputBias: "self_attn.o_proj.bias",
  gateBias: "mlp.gate_proj.bias",
  upBias: "mlp.up_proj.bias",
  downBias: "mlp.down_proj.bias",
  perLayerGate: "per_layer_input_gate.weight",
  perLayerProjection: "per_layer_projection.weight",
  perLayerNorm: "post_per_layer_input_norm.weight",
  layerScalar: "layer_scalar",
};

/** The name of a tensor that belongs to no layer. */
export const globalTensorName = (arch: DecoderArchitecture, role: GlobalTensor): string =>
  familyOfArchitecture(arch).names?.[role] ?? globalNames[role];

/** By flat name, for every weight of the model. */
export function storedPlaces(arch: DecoderArchitecture): ReadonlyMap<string, StoredPlace> {
  const family = familyOfArchitecture(arch);
  const fused = Object.entries(family.fused ?? {});
  const entries = weightList(arch);
  const rowsOf = new Map(entries.map(({ name, shape }) => [name, shape[0] ?? 1]));
  const place = (entry: WeightEntry): StoredPlace => {
    if (entry.layer === null) return { name: globalTensorName(arch, entry.role), shared: null };
    const { layer, role } = entry;
    const prefix = `model.layers.${layer}.`;
    const name = prefix + (family.names?.[role] ?? layerNames[role]);
    const [shared, roles] = fused.find(([, all]) => all.includes(role)) ?? [];
    if (shared === undefined || !roles) return { name, shared: null };
    const rows = roles.map((r) => rowsOf.get(`L${layer}_${r}`) ?? 0);
    const sum = (counts: readonly number[]): number => counts.reduce((n, r) => n + r, 0);
    const firstRow = sum(rows.slice(0, roles.indexOf(role)));
    return { name, shared: { name: prefix + shared, firstRow, rows: sum(rows) } };
  };
  return new Map(entries.map((entry) => [entry.name, place(entry)]));
}

/** The tensors of a checkpoint of dense weights: the names of the weights in each, in the order of
 * its rows. */
export function storedTensors(arch: DecoderArchitecture): ReadonlyMap<string, WeightEntry[]> {
  const places = storedPlaces(arch);
  const tensors = new Map<string, WeightEntry[]>();
  for (const entry of weightList(arch)) {
    const place = places.get(entry.name);
    invariant(place, `no place for ${entry.name}`);
    const name = place.shared?.name ?? place.name;
    tensors.set(name, [...(tensors.get(name) ?? []), entry]);
  }
  const firstRow = (e: WeightEntry): number => places.get(e.name)?.shared?.firstRow ?? 0;
  for (const entries of tensors.values()) entries.sort((a, b) => firstRow(a) - firstRow(b));
  return tensors;
}
