"use client";
/** @file One package: checked before it left, where each operation runs, what a phone measured, what is in it. */
import { useQuery } from "@tanstack/react-query";
import { useParams } from "next/navigation";
import { Suspense } from "react";
import { isFileCard } from "../../../experiments/kinds/export/file-card.ts";
import { deviceOfChip } from "../../../lib/cost/devices.ts";
import { deviceName } from "../../../lib/report/device-names.ts";
import { useTRPC } from "../../parts/api.tsx";
import { Picker } from "../../parts/controls.tsx";
import { useHotkeys } from "../../parts/hotkeys.ts";
import { Link } from "../../parts/link.tsx";
import { ShareButton, TopBar } from "../../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../../parts/states.tsx";
import { useAddress } from "../../parts/url-state.ts";
import { coremlOf } from "../card-lines.ts";
import { Checks } from "../checks.tsx";
import { Contents } from "../contents.tsx";
import { DeviceReport } from "../device-report.tsx";
import { Head, headlineSpeed, zipHref } from "../head.tsx";
import { Pairing } from "../pairing.tsx";
import { Placement } from "../placement.tsx";
import { RunFile } from "../run-file.tsx";
import { TimePerToken } from "../time-per-token.tsx";
import "../packages.css";

const DEFAULT_CHIP = "a17-pro";

export default function PackagePage() {
  return (
    <Suspense>
      <OnePackage />
    </Suspense>
  );
}

function OnePackage() {
  const { id } = useParams<{ id: string }>();
  const trpc = useTRPC();
  const address = useAddress();
  const detail = useQuery(trpc.packages.get.queryOptions({ id }));
  const modelled = useQuery(trpc.packages.modelled.queryOptions({ id }, { enabled: detail.isSuccess }));
  const reports = detail.data?.reports ?? [];
  const reportId = reports.find((r) => r.id === address.get("report"))?.id ?? reports[0]?.id;
  const report = useQuery(
    trpc.reports.get.queryOptions({ id: reportId ?? "" }, { enabled: reportId !== undefined, staleTime: Infinity }),
  );
  const body = report.data?.body;
  const run =
    body?.runs.find((r) => r.computeUnits === address.get("units")) ??
    body?.runs.find((r) => r.computeUnits === modelled.data?.units) ??
    body?.runs[0] ??
    null;
  const placement = useQuery(
    trpc.packages.placement.queryOptions(
      { id, ...(reportId && run ? { report: reportId, units: run.computeUnits } : {}) },
      { enabled: detail.isSuccess && (reportId === undefined || run !== null), placeholderData: (before) => before },
    ),
  );
  useHotkeys({
    "package.download": detail.data ? () => window.location.assign(zipHref(id)) : undefined,
  });

  const known = modelled.data?.devices ?? [];
  const ownChip = body && body.device.kind !== "simulated" ? deviceOfChip(body.device.chip)?.id : undefined;
  const chip = known.find((d) => d.device === address.get("chip"))?.device ?? ownChip ?? DEFAULT_CHIP;
  const device = known.find((d) => d.device === chip);
  const contexts = device?.decode.map((c) => c.context) ?? [];
  const wanted = Number(address.get("context"));
  const context = contexts.includes(wanted) ? wanted : (contexts.at(-1) ?? 0);
  const decodes = placement.data?.filter((f) => f.positions === 1) ?? [];
  const placed =
    placement.data?.find((f) => f.function === address.get("function")) ??
    decodes.find((f) => f.context === context) ??
    placement.data?.[0];
  const set = (name: string) => (value: string | number) => address.set({ [name]: value }, { quietly: true });

  if (detail.error)
    return (
      <>
        <TopBar title="No package" trail={[{ name: "Packages", href: "/packages" }]} />
        <div className="region">
          <ErrorNote
            error={detail.error}
            action={
              <Link className="button" href="/packages">
                All packages
              </Link>
            }
          />
        </div>
      </>
    );
  const p = detail.data;
  return (
    <>
      <TopBar title={p?.card.package ?? "Package"} trail={[{ name: "Packages", href: "/packages" }]}>
        <ShareButton />
      </TopBar>
      {p ? <Head detail={p} speed={headlineSpeed(p, modelled.data, chip)} /> : null}
      {p ? (
        <div className="package-columns">
          <Checks detail={p} />
          {isFileCard(p.card) ? (
            <RunFile card={p.card} />
          ) : (
            <section className="package-column" aria-label="Placement and time">
              {(modelled.error ?? placement.error) ? <ErrorNote error={modelled.error ?? placement.error} /> : null}
              {placed ? (
                <Placement placed={placed} reportedBy={body ? deviceName(body.device.identifier) : null} />
              ) : placement.isPending ? (
                <Waiting>Reading the package</Waiting>
              ) : null}
              {placed && (placement.data?.length ?? 0) > 1 ? (
                <div className="row package-pickers">
                  <Picker
                    label="function"
                    value={placed.function}
                    options={(placement.data ?? []).map((f) => [f.function, f.function] as const)}
                    onChange={set("function")}
                  />
                </div>
              ) : null}
              {modelled.data ? (
                <TimePerToken
                  modelled={modelled.data}
                  chip={chip}
                  onChip={set("chip")}
                  context={context}
                  onContext={set("context")}
                  run={run}
                  isSimulated={body?.device.kind === "simulated"}
                />
              ) : null}
              {reports.length > 0 ? <Pairing packageId={id} title="Test on another iPhone" atOnce={false} /> : null}
            </section>
          )}
          {isFileCard(p.card) ? null : report.data && run ? (
            <DeviceReport
              reports={reports}
              report={report.data}
              run={run}
              onReport={set("report")}
              onUnits={set("units")}
              device={device}
            />
          ) : (
            <section className="package-column" aria-label="What a phone measured">
              <h2>What a phone measured</h2>
              {report.error ? <ErrorNote error={report.error} /> : null}
              {reportId !== undefined ? (
                report.error ? null : (
                  <Waiting>Reading the report</Waiting>
                )
              ) : !coremlOf(p.card)?.layout ? (
                <Empty title="This package has no probe">
                  It was exported before packages came with one. Export it again to test it on an iPhone.
                </Empty>
              ) : (
                <>
                  <p className="soft">
                    Nothing yet: speed, memory and placement are modelled until the probe has run on a phone.
                  </p>
                  <Pairing packageId={id} title="Test on an iPhone" atOnce />
                </>
              )}
            </section>
          )}
        </div>
      ) : (
        <div className="region">
          <Waiting>Reading the package</Waiting>
        </div>
      )}
      {p ? <Contents detail={p} /> : null}
    </>
  );
}
