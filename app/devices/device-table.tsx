/** @file The devices, one line each: what it is, its system, when it was last seen, whether golden vectors came out on each unit. */
import type { inferRouterOutputs } from "@trpc/server";
import type { ComputeUnits } from "../../lib/formats/coreml/compute-units.ts";
import { deviceName } from "../../lib/report/device-names.ts";
import type { AppRouter } from "../../server/api/router.ts";
import { unitWords } from "../packages/card-lines.ts";
import { bytes, moment } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";

export type ListedDevice = inferRouterOutputs<AppRouter>["devices"]["list"][number];

/** Per compute unit, how many reports came out right and how many did not. */
export function verdicts(device: ListedDevice): { units: ComputeUnits; right: number; wrong: number }[] {
  const found = new Map<ComputeUnits, { right: number; wrong: number }>();
  for (const r of device.reports)
    for (const run of r.runs) {
      const isWrong = run.failedCases.length > 0 || run.failures.length > 0 || run.cases === 0;
      const at = found.get(run.computeUnits) ?? { right: 0, wrong: 0 };
      found.set(run.computeUnits, isWrong ? { ...at, wrong: at.wrong + 1 } : { ...at, right: at.right + 1 });
    }
  return [...found].map(([units, n]) => ({ units, ...n }));
}

export interface DeviceTableProps {
  readonly devices: readonly ListedDevice[];
  readonly current: string;
  readonly onPick: (id: string) => void;
}

export function DeviceTable({ devices, current, onPick }: DeviceTableProps) {
  return (
    <div className="scrolls">
      <table className="package-list">
        <thead>
          <tr>
            <th>Device</th>
            <th>Chip</th>
            <th>System</th>
            <th>Golden vectors</th>
            <th className="number">Reports</th>
            <th>Last seen</th>
          </tr>
        </thead>
        <tbody>
          {devices.map((d) => (
            <tr key={d.id} className={d.id === current ? "device-current" : undefined}>
              <td>
                <button
                  type="button"
                  className="quiet device-name"
                  aria-pressed={d.id === current}
                  onClick={() => onPick(d.id)}
                >
                  {deviceName(d.identifier)}
                </button>
                {deviceName(d.identifier) === d.identifier || d.kind === "simulated" ? null : (
                  <span className="soft small mono"> {d.identifier}</span>
                )}
              </td>
              <td>
                {d.kind === "simulated" ? (
                  <span className="soft">no phone: an engine here</span>
                ) : (
                  (d.chip ?? "unknown")
                )}
                {d.memoryBytes > 0 ? <span className="soft">, {bytes(d.memoryBytes)}</span> : null}
              </td>
              <td>{d.system}</td>
              <td>
                {verdicts(d).map((v) => (
                  <span
                    key={v.units}
                    className="device-verdict"
                    style={{ color: v.wrong > 0 ? "var(--bad)" : "var(--ok)" }}
                  >
                    <Icon name={v.wrong > 0 ? "cross" : "check"} size={12} />
                    <span>
                      {unitWords[v.units]}
                      {v.wrong > 0 ? `: ${v.wrong} of ${v.wrong + v.right} wrong` : ""}
                    </span>
                  </span>
                ))}
              </td>
              <td className="number">{d.reports.length}</td>
              <td className="soft">{moment(d.lastSeenAt)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
