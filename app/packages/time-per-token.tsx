/** @file Where the time of a token goes at one context: parts of the model, and what a phone can tell apart. */
import { Picker, Tag } from "../parts/controls.tsx";
import { duration, fixed } from "../parts/format.ts";
import { type Modelled, type ReportRun, timeRows } from "./card-lines.ts";

export interface TimePerTokenProps {
  readonly modelled: Modelled;
  readonly chip: string;
  readonly onChip: (chip: string) => void;
  readonly context: number;
  readonly onContext: (context: number) => void;
  readonly run: ReportRun | null;
  /** Times of this machine, not of a phone. */
  readonly isSimulated: boolean;
}

const milliseconds = (v: number | null): string =>
  v === null ? "" : v < 0.0005 ? "< 0.001 ms" : v >= 1000 ? duration(v / 1000) : `${fixed(v, v < 0.1 ? 3 : 2)} ms`;

export function TimePerToken({ modelled, chip, onChip, context, onContext, run, isSimulated }: TimePerTokenProps) {
  const device = modelled.devices.find((d) => d.device === chip) ?? modelled.devices[0];
  const call = device?.decode.find((c) => c.context === context);
  const measured = run?.decode.find((d) => d.context === context);
  const rows = timeRows(
    call?.ms ?? null,
    measured ? { totalMs: measured.perToken.median, hostMs: measured.hostPerToken?.median ?? null } : null,
  );
  const contexts = device?.decode.map((c) => c.context) ?? [];
  return (
    <section aria-labelledby="package-time">
      <h3 id="package-time">Time per token</h3>
      <div className="row package-pickers">
        <Picker
          label="on"
          value={chip}
          options={modelled.devices.map((d) => [d.device, d.name] as const)}
          onChange={onChip}
        />
        <Picker
          label="at"
          value={String(context)}
          options={contexts.map((c) => [String(c), `${c} positions`] as const)}
          onChange={(c) => onContext(Number(c))}
        />
      </div>
      <table>
        <thead>
          <tr>
            <th>Part</th>
            <th className="number">
              <Tag kind="modelled" />
            </th>
            <th className="number">{measured ? isSimulated ? "simulated" : <Tag kind="reported" /> : "reported"}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={r.name} className={r.isSum ? "strong" : undefined}>
              <td>{r.name}</td>
              <td className="number soft-2">{r.modelled === null ? "" : milliseconds(r.modelled)}</td>
              <td className="number">{milliseconds(r.reported)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="soft small package-basis">
        {device ? <Basis basis={device.basis} /> : null}
        {measured && !isSimulated
          ? " A probe measures the host’s part and the whole prediction, but nothing inside the prediction."
          : " The host’s part is not modelled."}
      </p>
    </section>
  );
}

export function Basis({ basis }: { basis: Modelled["devices"][number]["basis"] }) {
  return basis.kind === "refitted" ? (
    <>
      Modelled with parameters refitted to {basis.calls} measured {basis.calls === 1 ? "call" : "calls"} of this chip;
      half of them lie within ×{fixed(basis.factor, 2)}.
    </>
  ) : (
    <>Modelled from published figures; half of those held out lie within ×{fixed(basis.factor, 2)}.</>
  );
}
