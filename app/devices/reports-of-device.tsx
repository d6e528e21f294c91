/** @file The reports of one device, a line for each compute unit it was run on, with the cases that failed. */

import { deviceName } from "../../lib/report/device-names.ts";
import { unitWords } from "../packages/card-lines.ts";
import { count, moment } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import type { ListedDevice } from "./device-table.tsx";

export function ReportsOfDevice({ device }: { device: ListedDevice }) {
  return (
    <section className="region" aria-labelledby="devices-reports">
      <h2 id="devices-reports">Reports of {deviceName(device.identifier)}</h2>
      {device.kind === "simulated" ? (
        <p className="soft">
          Simulated, no phone: packages executed by {device.chip} on this machine. Nothing here replaces a modelled
          figure or changes the cost model.
        </p>
      ) : null}
      <div className="scrolls">
        <table className="package-list">
          <thead>
            <tr>
              <th>Received</th>
              <th>Package</th>
              <th>System</th>
              <th>Permitted units</th>
              <th>Golden cases</th>
              <th className="number">Tokens per second</th>
            </tr>
          </thead>
          <tbody>
            {device.reports.flatMap((r) =>
              r.runs.map((run, i) => {
                const isWrong = run.failedCases.length > 0 || run.failures.length > 0;
                return (
                  <tr key={`${r.id} ${run.computeUnits}`}>
                    <td className="soft">{i === 0 ? moment(r.receivedAt) : null}</td>
                    <td>
                      {i > 0 ? null : r.package ? (
                        <Link href={`/packages/${r.package.id}?report=${r.id}`}>{r.package.name}</Link>
                      ) : (
                        <span className="soft">no longer here</span>
                      )}
                    </td>
                    <td>{i === 0 ? r.system : null}</td>
                    <td>{unitWords[run.computeUnits]}</td>
                    <td className="device-cases">
                      <span style={{ color: isWrong ? "var(--bad)" : run.cases > 0 ? "var(--ok)" : "var(--ink-3)" }}>
                        <Icon name={isWrong ? "cross" : run.cases > 0 ? "check" : "info"} size={12} />{" "}
                        {run.cases === 0 ? "not run" : `${run.passed} of ${run.cases} match`}
                      </span>
                      {isWrong ? (
                        <span className="soft small"> {[...run.failedCases, ...run.failures].join("; ")}</span>
                      ) : null}
                    </td>
                    <td className="number">
                      {run.decode ? (
                        <>
                          {count(run.decode.tokensPerSecond)} <span className="soft">at {run.decode.context}</span>
                        </>
                      ) : (
                        <span className="soft">not timed</span>
                      )}
                    </td>
                  </tr>
                );
              }),
            )}
          </tbody>
        </table>
      </div>
    </section>
  );
}
