"use client";
/** @file Where a model comes from and what came of it: parents above, children below, each with the run between. */
import type { inferRouterOutputs } from "@trpc/server";
import type { AppRouter } from "../../server/api/router.ts";
import { bytes, fixed } from "../parts/format.ts";
import { Link } from "../parts/link.tsx";

type Model = inferRouterOutputs<AppRouter>["models"]["list"][number];

/** The whole family of a model, root first, children below their parent. */
export function familyOf(id: string, all: readonly Model[]): { model: Model; depth: number }[] {
  const byId = new Map(all.map((m) => [m.id, m]));
  let root = byId.get(id);
  for (let steps = 0; root?.parentId && byId.has(root.parentId) && steps < 60; steps++) root = byId.get(root.parentId);
  if (!root) return [];
  const found: { model: Model; depth: number }[] = [];
  const visit = (model: Model, depth: number): void => {
    if (depth > 60 || found.some((f) => f.model.id === model.id)) return;
    found.push({ model, depth });
    for (const child of all.filter((m) => m.parentId === model.id).toReversed()) visit(child, depth + 1);
  };
  visit(root, 0);
  return found;
}

export function Lineage({ id, all }: { id: string; all: readonly Model[] }) {
  return (
    <section>
      <h2>Lineage</h2>
      <table>
        <tbody>
          {familyOf(id, all).map(({ model, depth }) => (
            <tr key={model.id} aria-current={model.id === id ? "true" : undefined}>
              <td style={{ paddingLeft: depth * 18 }}>
                {depth > 0 ? (
                  <span className="soft" aria-hidden="true">
                    └{" "}
                  </span>
                ) : null}
                {model.id === id ? (
                  <span className="strong">{model.id}</span>
                ) : (
                  <Link href={`/models?model=${model.id}`}>{model.id}</Link>
                )}
              </td>
              <td className="soft">{model.runId ? <Link href={`/runs/${model.runId}`}>its run</Link> : "imported"}</td>
              <td className="number">{bytes(model.facts.weightBytes)}</td>
              <td className="number soft">{fixed(model.facts.bitsPerWeight, 2)} bits</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
