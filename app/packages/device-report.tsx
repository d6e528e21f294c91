"use client";
/** @file What a phone measured of a package: parity, speed over contexts, speed over minutes with heat, and the rest; or that it did not. */
import { deviceName } from "../../lib/report/device-names.ts";
import { Chart, type Series } from "../parts/chart.tsx";
import { Picker, Segments } from "../parts/controls.tsx";
import { bytes, count, duration, fixed, moment, percent, signed } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { type Modelled, type ReportDetail, type ReportRun, unitWords } from "./card-lines.ts";
import { decodeSpeeds, thermalStretches } from "./report-figures.ts";

export interface DeviceReportProps {
  readonly reports: readonly { readonly id: string; readonly receivedAt: string | Date; readonly device: string }[];
  readonly report: ReportDetail;
  readonly run: ReportRun;
  readonly onReport: (id: string) => void;
  readonly onUnits: (units: ReportRun["computeUnits"]) => void;
  readonly device: Modelled["devices"][number] | undefined;
}

export function DeviceReport({ reports, report, run, onReport, onUnits, device }: DeviceReportProps) {
  const { body } = report;
  const isSimulated = body.device.kind === "simulated";
  const failed = run.parity.filter((p) => !p.passed);
  return (
    <section className="package-column" aria-labelledby="package-report">
      <div className="row">
        <h2 id="package-report">{deviceName(body.device.identifier)}</h2>
        <span className="soft">
          {isSimulated ? null : `${body.device.chip ?? "chip unknown"}, `}
          {isSimulated ? "an engine on this machine" : `${body.device.system} ${body.device.systemVersion}`},{" "}
          {moment(report.receivedAt)}
        </span>
      </div>
      <div className="row package-pickers">
        <span className="chip" style={failed.length > 0 ? { color: "var(--bad)" } : undefined}>
          <Icon name={failed.length > 0 ? "cross" : "check"} size={12} />
          {run.parity.length === 0
            ? "golden vectors not run"
            : failed.length > 0
              ? `${failed.length} of ${run.parity.length} golden cases differ`
              : "golden vectors match"}
        </span>
        {body.runs.length > 1 ? (
          <Segments
            label="Compute units"
            value={run.computeUnits}
            options={body.runs.map((r) => [r.computeUnits, unitWords[r.computeUnits]] as const)}
            onChange={onUnits}
          />
        ) : (
          <span className="chip">{unitWords[run.computeUnits]}</span>
        )}
        {reports.length > 1 ? (
          <Picker
            label="report"
            value={report.id}
            options={reports.map((r) => [r.id, `${deviceName(r.device)}, ${moment(r.receivedAt)}`] as const)}
            onChange={onReport}
          />
        ) : null}
      </div>
      {isSimulated ? (
        <div className="note package-finding">
          <strong>
            <Icon name="info" size={14} /> Simulated, no phone
          </strong>
          <p>
            The package was executed by {body.device.chip} on this machine. This shows that the package computes the
            right values. Its times come from this machine and do not replace modelled figures.
          </p>
        </div>
      ) : null}
      {failed.length > 0 || run.failures.length > 0 ? <Failures run={run} /> : null}
      <Decode run={run} device={device} isSimulated={isSimulated} />
      <Sustained report={report} run={run} />
      <AlsoMeasured report={report} run={run} />
    </section>
  );
}

function Failures({ run }: { run: ReportRun }) {
  return (
    <div className="note error package-finding">
      <strong className="bad">
        <Icon name="cross" size={14} /> Wrong results on {unitWords[run.computeUnits]}
      </strong>
      {run.parity
        .filter((p) => !p.passed)
        .map((p) => (
          <p key={p.case}>
            {p.case}: logits off by {fixed(p.maxLogitDifference, 3)}, {fixed(p.tolerance, 3)} is allowed; greedy text{" "}
            {p.greedyIdentical ? "identical" : `differs at ${p.greedyFirstDifference ?? "?"}`}
            {p.nonFinite > 0 ? `; ${p.nonFinite} values not finite` : ""}
          </p>
        ))}
      {run.failures.map((f) => (
        <p key={f.stage}>
          {f.stage}: {f.message}
        </p>
      ))}
      <p className="soft">Modelled figures stay: this report does not replace them.</p>
    </div>
  );
}

function Decode({
  run,
  device,
  isSimulated,
}: { run: ReportRun; isSimulated: boolean } & Pick<DeviceReportProps, "device">) {
  const measured = decodeSpeeds(run);
  const name = isSimulated ? "simulated, p5 to p95" : "reported, p5 to p95";
  const series: Series[] = [];
  if (device && device.decode.length > 0) {
    const y = device.decode.map((c) => c.tokensPerSecond);
    series.push({
      name: `modelled, ${device.name}`,
      kind: "line",
      style: "reference",
      x: device.decode.map((c) => c.context),
      y,
      band: { low: y.map((v) => v / device.basis.factor), high: y.map((v) => v * device.basis.factor) },
      direct: "modelled",
    });
  }
  if (measured.length > 0) {
    const x = measured.map((m) => m.context);
    const y = measured.map((m) => m.median);
    series.push(
      { name, kind: "line", style: 0, x, y, direct: name },
      {
        name,
        kind: "points",
        style: 0,
        x,
        y,
        error: { low: measured.map((m) => m.low), high: measured.map((m) => m.high) },
      },
    );
  }
  const largest = measured.at(-1);
  return (
    <Chart
      title="Decode, tokens per second"
      sentence={
        largest
          ? `${count(largest.median)} at ${largest.context} positions; bars are single tokens, p5 to p95${device ? `; the band holds half of ${device.basis.kind === "refitted" ? "the calls the model is fitted to" : "what the model was checked on"}` : ""}.${run.decode.some((d) => d.hostPerToken) ? " Reported speeds include the host’s part, modelled speeds do not." : ""}`
          : "Decoding was not timed."
      }
      level={3}
      height={210}
      series={series}
      x={{ title: "context, tokens" }}
      y={{ title: "tokens per second" }}
    />
  );
}

function Sustained({ report, run }: { report: ReportDetail; run: ReportRun }) {
  const why = report.body.notMeasured.find((n) => /sustained|speed|heat/.test(n.what))?.why;
  if (!run.sustained)
    return (
      <div className="package-missing">
        <h3>Sustained, with thermal state</h3>
        <p className="soft">
          Not measured{why ? `: ${why}` : ""}. <code>probe.sh --minutes 10</code> measures it.
        </p>
      </div>
    );
  const { windows, context } = run.sustained;
  const minutes = windows.map((w) => w.atSeconds / 60);
  const [first, last] = [windows[0], windows.at(-1)];
  const kept = first && last && first.tokensPerSecond > 0 ? last.tokensPerSecond / first.tokensPerSecond : null;
  const stretches = thermalStretches(windows);
  return (
    <>
      <Chart
        title={`Sustained at ${context}, with thermal state`}
        sentence={
          kept === null
            ? "One window only."
            : `${percent(kept, 0)} of its first speed remains after ${duration(last?.atSeconds ?? 0)}.`
        }
        level={3}
        height={170}
        series={[
          {
            name: "tokens per second",
            kind: "line",
            style: 0,
            x: minutes,
            y: windows.map((w) => w.tokensPerSecond),
            labels: windows.map((w) => w.thermal),
          },
        ]}
        x={{ title: "minutes" }}
        y={{ title: "tokens per second" }}
      />
      <ol className="package-thermal" aria-label="Thermal state over time">
        {stretches.map((s) => (
          <li key={s.fromSeconds} className={s.state} style={{ flexGrow: Math.max(s.share, 0.02) }}>
            {s.state}
            <span className="visually-hidden"> from {duration(s.fromSeconds)}</span>
          </li>
        ))}
      </ol>
    </>
  );
}

function AlsoMeasured({ report, run }: { report: ReportDetail; run: ReportRun }) {
  const { battery, device } = report.body;
  const most = (values: readonly (number | null)[]): number | null => {
    const known = values.filter((v): v is number => v !== null);
    return known.length > 0 ? Math.max(...known) : null;
  };
  const seconds = (ms: number | null): string =>
    ms === null ? "not reported" : ms < 1000 ? `${Math.round(ms)} ms` : duration(ms / 1000);
  const first = most(run.loads.map((l) => l.firstMs));
  const warm = most(run.loads.map((l) => l.warmMs));
  return (
    <>
      <h3>Also measured</h3>
      <dl className="facts">
        <dt>First load, then warm</dt>
        <dd>
          <span className="soft">{seconds(first)}</span> <strong>{warm === null ? "" : seconds(warm)}</strong>
          {warm === null && first !== null ? <span className="soft">, warm not reported</span> : null}
        </dd>
        {run.prefill.map((p) => (
          <FactRow key={p.function} name={`Prefill, ${p.width} tokens per call, at ${p.context}`}>
            {count(p.tokensPerSecond)} tok/s
          </FactRow>
        ))}
        <FactRow name="Peak memory">
          {run.memory ? (
            <>
              {bytes(run.memory.peakBytes)}
              {device.kind === "simulated" ? <span className="soft"> of this process</span> : null}
            </>
          ) : null}
        </FactRow>
        <FactRow name={battery ? `Battery over ${duration(battery.overSeconds)}` : "Battery"}>
          {battery
            ? battery.charging
              ? "not meaningful on a charger"
              : `${signed(battery.endPercent - battery.startPercent, 0)} %`
            : null}
        </FactRow>
        <FactRow name="Energy">{null}</FactRow>
      </dl>
      {report.body.notMeasured.length > 0 ? (
        <p className="soft small" style={{ marginTop: 8 }}>
          {report.body.notMeasured.map((n) => `Not measured: ${n.what} (${n.why}).`).join(" ")}
        </p>
      ) : null}
    </>
  );
}

function FactRow({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children === null ? <span className="soft">not reported</span> : <strong>{children}</strong>}</dd>
    </>
  );
}
