"use client";
import { useMutation, useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { Suspense, useCallback, useMemo } from "react";
import type { TradeoffPoint, TradeoffSummary } from "../../experiments/tradeoff/tradeoff.ts";
import { useTRPC } from "../parts/api.tsx";
import { Chart, type Series } from "../parts/chart.tsx";
import { bytes, count, fixed, percent } from "../parts/format.ts";
import { TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote } from "../parts/states.tsx";

export default function TradeoffPage() {
  return (
    <Suspense>
      <Tradeoff />
    </Suspense>
  );
}

const sizes = {
  bytes: { title: "weights, MB", of: (p: TradeoffPoint) => p.sizeBytes / 1e6 },
  bits: { title: "bits per weight", of: (p: TradeoffPoint) => p.bitsPerWeight },
  parameters: { title: "parameters, millions", of: (p: TradeoffPoint) => p.parameters / 1e6 },
} as const;

function Tradeoff() {
  const trpc = useTRPC();
  const router = useRouter();
  const params = useSearchParams();
  const list = useQuery(trpc.runs.list.queryOptions({ kinds: ["tradeoff"], states: ["succeeded"] }));
  // A comparison of many says more than a check of one.
  const first = list.data?.find((r) => (r.numbers.points ?? 0) > 2) ?? list.data?.[0];
  const id = params.get("run") ?? first?.id ?? null;
  const run = useQuery(trpc.runs.get.queryOptions({ id: id ?? "" }, { enabled: id !== null }));
  const size =
    params.get("size") === "bits" ? sizes.bits : params.get("size") === "parameters" ? sizes.parameters : sizes.bytes;
  const budget = Number(params.get("budget")) || null;
  const summary = run.data?.summary as TradeoffSummary | undefined;
  const set = useCallback(
    (name: string, value: string): void => {
      const next = new URLSearchParams(params);
      if (value === "") next.delete(name);
      else next.set(name, value);
      router.replace(`/tradeoff?${next}`, { scroll: false });
    },
    [params, router],
  );
  const measure = params.get("measure") ?? summary?.measure ?? "kl";
  const points = useMemo(() => summary?.points ?? [], [summary]);
  const isAccuracy = measure === "accuracy" && points.some((p) => p.accuracy);
  const value = useCallback(
    (p: TradeoffPoint): number => (isAccuracy ? 100 * (p.accuracy?.value ?? 0) : p.kl.mean),
    [isAccuracy],
  );
  const base = points[0];
  const within = useCallback((p: TradeoffPoint): boolean => budget === null || size.of(p) <= budget, [budget, size]);
  const series = useMemo((): Series[] => {
    const better = (a: number, b: number): boolean => (isAccuracy ? a > b : a < b);
    const bySize = [...points].sort((a, b) => size.of(a) - size.of(b));
    let best = isAccuracy ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    const front = bySize.filter((p) => {
      if (!better(value(p), best)) return false;
      best = value(p);
      return true;
    });
    const errors = (of: TradeoffPoint[]) => ({
      low: of.map((p) => (isAccuracy ? 100 * (p.accuracy?.interval.low ?? 0) : p.kl.mean - p.kl.standardError)),
      high: of.map((p) => (isAccuracy ? 100 * (p.accuracy?.interval.high ?? 0) : p.kl.mean + p.kl.standardError)),
    });
    const drawn = (name: string, of: TradeoffPoint[], style: number | "reference"): Series => ({
      name,
      x: of.map(size.of),
      y: of.map(value),
      kind: "points",
      style,
      labels: of.map((p) => p.label),
      error: errors(of),
    });
    return [
      { name: "front", x: front.map(size.of), y: front.map(value), kind: "staircase", style: "reference" },
      drawn("undominated", front, 0),
      drawn(
        "dominated",
        points.filter((p) => !front.includes(p)),
        4,
      ),
      ...(budget === null
        ? []
        : [
            {
              name: "budget",
              x: [budget, budget],
              y: [Math.min(...points.map(value)), Math.max(...points.map(value))],
              kind: "line" as const,
              style: 1,
            },
          ]),
    ];
  }, [points, size, value, isAccuracy, budget]);
  const picked =
    points.find((p) => p.label === params.get("point")) ?? points.find((p) => p.model === summary?.winner) ?? null;
  const exportRun = useMutation(trpc.runs.submit.mutationOptions());
  const onPick = useCallback((label: string) => set("point", label), [set]);
  if (list.data && !first && id === null)
    return (
      <>
        <TopBar title="Trade-off" />
        <Empty
          title="No trade-off has been measured yet"
          action={
            <Link className="button" href="/">
              To the starter study
            </Link>
          }
        >
          Accuracy against size over several models appears here once a trade-off run has ended. The starter study makes
          one.
        </Empty>
      </>
    );
  return (
    <>
      <TopBar title="Trade-off">
        <select aria-label="Trade-off run" value={id ?? ""} onChange={(e) => set("run", e.target.value)}>
          {(list.data ?? []).map((r) => (
            <option key={r.id} value={r.id}>
              {r.name} · {new Date(r.createdAt).toLocaleString()}
            </option>
          ))}
        </select>
        <select
          aria-label="Measure"
          value={isAccuracy ? "accuracy" : "kl"}
          onChange={(e) => set("measure", e.target.value)}
        >
          <option value="kl">KL to the base</option>
          <option value="accuracy">questions right</option>
        </select>
        <select aria-label="Size" value={params.get("size") ?? "bytes"} onChange={(e) => set("size", e.target.value)}>
          <option value="bytes">bytes</option>
          <option value="bits">bits per weight</option>
          <option value="parameters">parameters</option>
        </select>
        <label className="row">
          Budget
          <input
            type="number"
            step="any"
            min={0}
            style={{ width: 90 }}
            value={budget ?? ""}
            onChange={(e) => set("budget", e.target.value)}
          />
          <span className="soft">{size.title}</span>
        </label>
      </TopBar>
      {run.error ? <ErrorNote error={run.error} /> : null}
      {summary && base ? (
        <div className="split">
          <section className="region">
            <Chart
              title="Accuracy against size"
              sentence={`${isAccuracy ? "Upper left is better; bars are 95 % Wilson intervals" : "Lower left is better; bars are one standard error"}. ${summary.protocol ?? ""}. Winner: ${points.find((p) => p.model === summary.winner)?.label ?? "none"}, ${summary.reason}.`}
              series={series}
              x={{ title: size.title, logarithmic: true }}
              y={{ title: isAccuracy ? "questions right, %" : "KL to the base, nats per token" }}
              height={440}
              onPick={onPick}
            />
            <div className="scrolls">
              <table>
                <thead>
                  <tr>
                    <th>Model</th>
                    <th className="number">Weights</th>
                    <th className="number">Bits per weight</th>
                    <th className="number">Smaller than fp16</th>
                    <th className="number">KL ± SE</th>
                    <th className="number">Same top token</th>
                    <th className="number">Questions right</th>
                  </tr>
                </thead>
                <tbody>
                  {points.map((p) => (
                    <tr
                      key={p.model}
                      style={{
                        opacity: within(p) ? 1 : 0.5,
                        background: p === picked ? "var(--signal-soft)" : undefined,
                      }}
                    >
                      <td>
                        <button type="button" aria-pressed={p === picked} onClick={() => set("point", p.label)}>
                          {p.label}
                        </button>
                        {p.model === summary.winner ? " winner" : ""}
                      </td>
                      <td className="number">{bytes(p.sizeBytes)}</td>
                      <td className="number">{fixed(p.bitsPerWeight, 2)}</td>
                      <td className="number">{fixed(summary.fp16Bytes / p.sizeBytes, 1)} ×</td>
                      <td className="number">
                        {fixed(p.kl.mean, 4)} ± {fixed(p.kl.standardError, 4)}
                      </td>
                      <td className="number">{percent(p.agreement.mean)}</td>
                      <td className="number">{p.accuracy ? percent(p.accuracy.value) : "not asked"}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </section>
          <aside className="region">
            {picked ? (
              <>
                <h2>{picked.label}</h2>
                <p>
                  <span className="figure-number">{fixed(summary.fp16Bytes / picked.sizeBytes, 1)} ×</span> smaller than
                  the base in fp16, {bytes(picked.sizeBytes)} exactly {count(picked.sizeBytes)} bytes.
                </p>
                {picked.accuracy ? (
                  <p>
                    {percent(picked.accuracy.value)} of {picked.accuracy.items} questions right (95 %{" "}
                    {percent(picked.accuracy.interval.low)}–{percent(picked.accuracy.interval.high)}),{" "}
                    {percent(picked.accuracy.keptOfBase)} of the base
                    {picked.accuracy.pAgainstBase < 0.05
                      ? `, p ${picked.accuracy.pAgainstBase.toPrecision(2)}`
                      : ", within noise of the base"}
                    .
                  </p>
                ) : null}
                <Made id={picked.model} />
                <button
                  type="button"
                  className="primary"
                  disabled={exportRun.isPending}
                  onClick={() =>
                    exportRun.mutate({
                      kind: "export",
                      name: `package of ${picked.label}`.slice(0, 120),
                      config: { model: picked.model, name: picked.label.replaceAll(/[^\w-]/g, "-") },
                    })
                  }
                >
                  Export as a Core ML package
                </button>
                {exportRun.data ? (
                  <p style={{ marginTop: 8 }}>
                    <Link href={`/runs/${exportRun.data.id}`}>The export</Link> is on its way.
                  </p>
                ) : null}
                {exportRun.error ? <ErrorNote error={exportRun.error} /> : null}
              </>
            ) : (
              <p className="soft">Pick a point to see what was done to it.</p>
            )}
          </aside>
        </div>
      ) : null}
    </>
  );
}

/** The steps from the imported model to this one. */
function Made({ id }: { id: string }) {
  const trpc = useTRPC();
  const model = useQuery(trpc.models.get.queryOptions({ id }, { retry: false }));
  if (!model.data) return null;
  return (
    <>
      <h2>How it was made</h2>
      <ol>
        {[...model.data.ancestors].reverse().map((a) => (
          <li key={a.id}>
            {a.runId ? (
              <Link href={`/runs/${a.runId}`}>
                {a.kind}: {a.id}
              </Link>
            ) : (
              `${a.id}, imported`
            )}
          </li>
        ))}
      </ol>
    </>
  );
}
