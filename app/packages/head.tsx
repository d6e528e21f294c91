"use client";
import { useRef } from "react";
/** @file The head of a package: is it ready, what is it for, its few numbers, the zip and the way to Xcode. */
import { weightBytesOf } from "../../experiments/kinds/export/weight-bytes.ts";
import { deviceName } from "../../lib/report/device-names.ts";
import { Keys, Tag } from "../parts/controls.tsx";
import { bytes, count, fixed } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { sizeTitles } from "../parts/shipped-size.tsx";
import { coremlOf, type Modelled, type PackageDetail, targetWords } from "./card-lines.ts";

export interface HeadlineSpeed {
  readonly tokensPerSecond: number;
  readonly context: number;
  readonly kind: "modelled" | "reported";
  readonly on: string;
}

/** The measured speed at the largest context where a phone gives one, else the modelled one of a chip. */
export function headlineSpeed(
  detail: PackageDetail,
  modelled: Modelled | undefined,
  chip: string,
): HeadlineSpeed | null {
  const figures = detail.measured.find((m) => m.replacesModelled && m.decode.length > 0);
  const largest = [...(figures?.decode ?? [])].sort((a, b) => b.context - a.context)[0];
  if (figures && largest)
    return {
      tokensPerSecond: 1000 / largest.perToken.median,
      context: largest.context,
      kind: "reported",
      on: figures.device,
    };
  const device = modelled?.devices.find((d) => d.device === chip);
  const call = device?.decode.at(-1);
  return device && call
    ? { tokensPerSecond: call.tokensPerSecond, context: call.context, kind: "modelled", on: device.name }
    : null;
}

export const zipHref = (id: string): string => `/api/packages/${id}.zip`;

export function Head({ detail, speed }: { detail: PackageDetail; speed: HeadlineSpeed | null }) {
  const { card } = detail;
  const dialog = useRef<HTMLDialogElement>(null);
  return (
    <section className="package-head" aria-label={detail.name}>
      <div style={{ flex: 1, minWidth: 260 }}>
        <h2>
          {detail.name}
          <span className="state" style={{ color: detail.ready ? "var(--ok)" : "var(--bad)" }}>
            <Icon name={detail.ready ? "check" : "cross"} size={14} /> {detail.ready ? "ready" : "not ready"}
          </span>
        </h2>
        <p className="soft-2">
          {targetWords(detail)}, from{" "}
          <Link className="mono" href={`/models?model=${detail.modelId}`}>
            {detail.modelId}
          </Link>{" "}
          by <Link href={`/runs/${detail.runId}`}>this run</Link>
        </p>
      </div>
      <div className="package-number" title={sizeTitles.weights}>
        <strong data-figure="weights">{bytes(weightBytesOf(card))}</strong>
        <span>weights</span>
      </div>
      <div className="package-number" title={sizeTitles.package}>
        <strong data-figure="package">{bytes(card.sizeBytes)}</strong>
        <span>package</span>
      </div>
      <div className="package-number">
        <strong>{fixed(card.bitsPerWeight, 2)}</strong>
        <span>bits per weight</span>
      </div>
      <div className="package-number">
        <strong>{card.contexts ? card.contexts.map(count).join(" · ") : "one"}</strong>
        <span>{(card.contexts?.length ?? 1) === 1 ? "context" : "contexts"}</span>
      </div>
      {speed ? (
        <div className="package-number" title={speed.on}>
          <strong>
            <span data-figure="speed">{count(speed.tokensPerSecond)} tok/s</span> <Tag kind={speed.kind} />
          </strong>
          <span>
            at {speed.context},{" "}
            {speed.kind === "modelled" ? speed.on.replace(/ \(.*/, "") : `by ${deviceName(speed.on)}`}
          </span>
        </div>
      ) : null}
      <div className="row">
        {coremlOf(card)?.layout ? (
          <button type="button" onClick={() => dialog.current?.showModal()}>
            <Icon name="upload" /> Xcode project
          </button>
        ) : null}
        <a className={detail.ready ? "button primary" : "button"} href={zipHref(detail.id)} download>
          Download zip <Keys of="package.download" />
        </a>
      </div>
      <dialog ref={dialog} className="layer package-xcode" aria-label="The Xcode project of the probe">
        <h2>The Xcode project comes with the zip</h2>
        <ol>
          <li>Download the zip, {bytes(detail.sizeBytes)}, and unpack it on a Mac with Xcode 16 or later.</li>
          <li>
            Open <code>Probe/Probe.xcodeproj</code>; nothing else is needed to open it.
          </li>
          <li>Choose your team under Signing, and an iPhone with iOS 18 or later, in developer mode.</li>
          <li>
            Run the app, or the test <code>ProbeTests</code>; scan the pairing code of this page to send the report.
          </li>
        </ol>
        <p className="soft">
          Espalier has not built this project with Xcode or run it on a phone; it type-checked the Swift against stubs
          of Apple’s frameworks.
        </p>
        <form method="dialog">
          <button type="submit">Close</button>
        </form>
      </dialog>
    </section>
  );
}
