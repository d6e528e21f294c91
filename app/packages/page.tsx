"use client";
/** @file All packages: ready or not, how large, for what, how fast by model or by phone. */
import { useQuery } from "@tanstack/react-query";
import { plural } from "../../lib/number-text.ts";
import { useTRPC } from "../parts/api.tsx";
import { Tag } from "../parts/controls.tsx";
import { bytes, count, fixed, moment } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { coremlOf, lintGroups, type PackageEntry, targetWords } from "./card-lines.ts";
import "./packages.css";

const CHIP = "a17-pro";

export default function Packages() {
  const trpc = useTRPC();
  const packages = useQuery(trpc.packages.list.queryOptions());
  const speeds = useQuery(trpc.packages.speeds.queryOptions());
  const reports = useQuery(trpc.reports.list.queryOptions({}));
  const speedOf = (p: PackageEntry) => {
    const own = speeds.data?.find((s) => s.packageId === p.id);
    const measured = own?.measured.find((m) => m.replacesModelled && m.decode.length > 0);
    const largest = [...(measured?.decode ?? [])].sort((a, b) => b.context - a.context)[0];
    if (largest) return { kind: "reported" as const, value: 1000 / largest.perToken.median, context: largest.context };
    const modelled = own?.modelled.find((m) => m.chip === CHIP)?.decode.at(-1);
    return modelled
      ? { kind: "modelled" as const, value: modelled.tokensPerSecond, context: modelled.context }
      : undefined;
  };
  return (
    <>
      <TopBar title="Packages" />
      <section className="region" style={{ borderBottom: 0 }}>
        {packages.error ? <ErrorNote error={packages.error} /> : null}
        {packages.isPending ? <Waiting>Reading the packages</Waiting> : null}
        {packages.data?.length === 0 ? (
          <Empty
            title="No package yet"
            action={
              <Link className="button" href="/tradeoff">
                Open the trade-off
              </Link>
            }
          >
            Pick a winner on the trade-off page and export it. Espalier reads the package back and executes it before
            calling it ready.
          </Empty>
        ) : null}
        {packages.data && packages.data.length > 0 ? (
          <div className="scrolls">
            <table className="package-list">
              <thead>
                <tr>
                  <th>Package</th>
                  <th>State</th>
                  <th>Model</th>
                  <th className="number">Size</th>
                  <th className="number">Bits per weight</th>
                  <th>For</th>
                  <th>Contexts</th>
                  <th className="number">Tokens per second</th>
                  <th>
                    <span className="visually-hidden">Modelled or reported</span>
                  </th>
                  <th className="number">Lint</th>
                  <th className="number">Reports</th>
                  <th>Made</th>
                </tr>
              </thead>
              <tbody>
                {packages.data.map((p) => {
                  const speed = speedOf(p);
                  const own = reports.data?.filter((r) => r.packages.some((q) => q.id === p.id)) ?? [];
                  const lint = coremlOf(p.card)?.lint;
                  const found = lint ? lintGroups(lint.findings) : null;
                  const of = (severity: string): number => found?.filter((g) => g.severity === severity).length ?? 0;
                  return (
                    <tr key={p.id}>
                      <td>
                        <Link href={`/packages/${p.id}`}>{p.name}</Link>
                      </td>
                      <td>
                        <span className="state" style={{ color: p.ready ? "var(--ok)" : "var(--bad)" }}>
                          <Icon name={p.ready ? "check" : "cross"} size={14} /> {p.ready ? "ready" : "not ready"}
                        </span>
                      </td>
                      <td>
                        <Link className="mono plain" href={`/models?model=${p.modelId}`}>
                          {p.modelId}
                        </Link>
                      </td>
                      <td className="number">{bytes(p.card.sizeBytes)}</td>
                      <td className="number">{fixed(p.card.bitsPerWeight, 2)}</td>
                      <td>{targetWords(p)}</td>
                      <td>{p.card.contexts ? p.card.contexts.map(count).join(" · ") : "one"}</td>
                      <td className="number">
                        {speed ? (
                          <>
                            {count(speed.value)} <span className="soft">at {speed.context}</span>
                          </>
                        ) : (
                          <span className="soft">{speeds.isPending ? "…" : "unknown"}</span>
                        )}
                      </td>
                      <td>{speed ? <Tag kind={speed.kind} /> : null}</td>
                      <td className="number">
                        {found ? (
                          of("error") > 0 ? (
                            <span className="bad">{plural(of("error"), "error")}</span>
                          ) : of("warning") > 0 ? (
                            <span className="warn">{plural(of("warning"), "warning")}</span>
                          ) : (
                            "clean"
                          )
                        ) : (
                          <span className="soft">not linted</span>
                        )}
                      </td>
                      <td className="number">
                        {own.length === 0 ? (
                          <span className="soft">none</span>
                        ) : own.every((r) => r.device === "simulated") ? (
                          <span className="soft">{own.length} simulated</span>
                        ) : (
                          own.length
                        )}
                      </td>
                      <td className="soft">{moment(p.createdAt)}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
            <p className="soft small" style={{ marginTop: 8 }}>
              Modelled speeds are of an A17 Pro (iPhone 15 Pro) at the largest context; a phone’s report replaces them.
            </p>
          </div>
        ) : null}
      </section>
    </>
  );
}
