"use client";
/** @file Phones that have reported, what failed on each, how to measure on another, and the cost model refitted to what came. */
import { useQuery } from "@tanstack/react-query";
import { Suspense } from "react";
import { coremlOf } from "../packages/card-lines.ts";
import { Pairing } from "../packages/pairing.tsx";
import { useTRPC } from "../parts/api.tsx";
import { Picker } from "../parts/controls.tsx";
import { Link } from "../parts/link.tsx";
import { ShareButton, TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { CostFit } from "./cost-fit.tsx";
import { DeviceTable } from "./device-table.tsx";
import { ReportsOfDevice } from "./reports-of-device.tsx";
import "../packages/packages.css";
import "./devices.css";

export default function DevicesPage() {
  return (
    <Suspense>
      <Devices />
    </Suspense>
  );
}

function Devices() {
  const trpc = useTRPC();
  const address = useAddress();
  const devices = useQuery(trpc.devices.list.queryOptions());
  const chips = useQuery(trpc.devices.chips.queryOptions());
  const packages = useQuery(trpc.packages.list.queryOptions());
  const device = devices.data?.find((d) => d.id === address.get("device")) ?? devices.data?.[0];
  // Packages from before there was a probe have none to run.
  const testable = packages.data?.filter((p) => coremlOf(p.card)?.layout) ?? [];
  const target = testable.find((p) => p.id === address.get("package")) ?? testable.find((p) => p.ready) ?? testable[0];
  return (
    <>
      <TopBar title="Devices">
        <ShareButton />
      </TopBar>
      <div className="device-columns">
        <div>
          <section className="region" aria-labelledby="devices-list">
            <h2 id="devices-list">Devices that have reported</h2>
            {devices.error ? <ErrorNote error={devices.error} /> : null}
            {devices.isPending ? <Waiting>Reading the reports</Waiting> : null}
            {devices.data?.length === 0 ? (
              <Empty title="No device has reported yet">
                Until a device reports, speed, memory and placement are modelled. Pair an iPhone with a package on the
                right, or import the report file that the probe wrote.
              </Empty>
            ) : null}
            {devices.data && device ? (
              <DeviceTable
                devices={devices.data}
                current={device.id}
                onPick={(id) => address.set({ device: id }, { quietly: true })}
              />
            ) : null}
          </section>
          {device ? <ReportsOfDevice device={device} /> : null}
          <CostFit chips={chips.data ?? null} error={chips.error} />
        </div>
        <aside aria-label="Measure on a device">
          <section className="region">
            <h2>Measure on an iPhone</h2>
            <p className="soft">
              Every export comes with an Xcode project for the probe app. The app runs the golden vectors, times every
              context length, records heat and battery, and reports where each operation would run.
            </p>
            {packages.error ? <ErrorNote error={packages.error} /> : null}
            {target ? (
              <>
                <div className="row package-pickers">
                  <Picker
                    label="package"
                    value={target.id}
                    options={testable.map((p) => [p.id, `${p.name}, from ${p.modelId}`] as const)}
                    onChange={(id) => address.set({ package: id }, { quietly: true })}
                  />
                </div>
                <Pairing key={target.id} packageId={target.id} title={`Pair for ${target.name}`} atOnce={false} />
                <p className="soft small" style={{ marginTop: 12 }}>
                  The probe for this package is in <code>Probe/</code> of{" "}
                  <a href={`/api/packages/${target.id}.zip`} download>
                    its zip
                  </a>
                  . A report is valid only for the files it measured.
                </p>
              </>
            ) : packages.data ? (
              <Empty
                title="No package with a probe yet"
                action={
                  <Link className="button" href="/tradeoff">
                    Open the trade-off
                  </Link>
                }
              >
                Export a winner from the trade-off page; the probe is written next to the package.
              </Empty>
            ) : null}
          </section>
          <section className="region" style={{ borderBottom: 0 }}>
            <h3>Without a phone</h3>
            <p className="soft">
              The simulated phone executes an exported folder on this machine and reports as the probe does. It tests
              the whole path, and that the package computes the right values. It says nothing about a phone’s speed.
            </p>
            <pre>espalier report simulate FOLDER --pair LINK</pre>
          </section>
        </aside>
      </div>
    </>
  );
}
