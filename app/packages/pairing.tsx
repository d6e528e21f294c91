"use client";
/**
 * @file A phone is paired: a code to scan or type that lives five minutes, the script that does the whole of it, a report from a
 * file.
 */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useId, useRef, useState } from "react";
import { MAX_REPORT_BYTES } from "../../lib/report/report.ts";
import { useTRPC } from "../parts/api.tsx";
import { bytes } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { ErrorNote, Waiting } from "../parts/states.tsx";

export interface PairingProps {
  readonly packageId: string;
  readonly title: string;
  /** A code is made as soon as it is shown; else when it is asked for. */
  readonly atOnce: boolean;
}

export function Pairing({ packageId, title, atOnce }: PairingProps) {
  const trpc = useTRPC();
  const { mutate, data, error, isPending, reset } = useMutation(trpc.reports.pair.mutationOptions());
  const left = useSecondsUntil(data?.expiresAt ?? null);
  const isOver = data !== undefined && left <= 0;
  const heading = useId();
  const asked = useRef("");
  useEffect(() => {
    if (!atOnce || asked.current === packageId) return;
    asked.current = packageId;
    mutate({ package: packageId });
  }, [atOnce, packageId, mutate]);
  const pair = (): void => {
    reset();
    mutate({ package: packageId });
  };
  return (
    <section className="package-pairing" aria-labelledby={heading}>
      {data ? (
        // biome-ignore lint/performance/noImgElement: a few hundred bytes that came with the answer
        <img
          className={isOver ? "over" : undefined}
          src={`data:image/svg+xml;utf8,${encodeURIComponent(data.svg)}`}
          width={104}
          height={104}
          alt={isOver ? "An expired QR code" : "QR code that pairs the probe with this package"}
        />
      ) : null}
      <div>
        <h3 id={heading}>{title}</h3>
        {isPending ? <Waiting>Making a code</Waiting> : null}
        {error ? <ErrorNote error={error} /> : null}
        {data ? (
          <p>
            Scan from the probe app on this network.{" "}
            {isOver ? (
              "This code has expired."
            ) : (
              <>
                One use, <span data-testid="pairing-left">{clock(left)}</span> left.
              </>
            )}
          </p>
        ) : isPending ? null : (
          <p className="soft">A code for one report, valid for five minutes.</p>
        )}
        <div className="row">
          {data && !isOver ? (
            <strong className="mono package-code" data-testid="pairing-code">
              {data.code}
            </strong>
          ) : null}
          {!data || isOver ? (
            <button type="button" onClick={pair} disabled={isPending}>
              {data ? "New code" : "Show a code"}
            </button>
          ) : null}
          <ImportReport />
        </div>
      </div>
      {data?.hint ? (
        <div className="note warning package-hint">
          <strong className="warn">
            <Icon name="warning" size={14} /> A phone cannot reach this server
          </strong>
          <p>{data.hint}</p>
        </div>
      ) : null}
      <details className="package-script">
        <summary>Unattended, from a Mac with Xcode</summary>
        <p>
          <code>probe.sh</code>, in <code>Probe/</code> in the zip, finds the phone, builds the app, runs the golden
          vectors, times every context length, records heat and battery, fetches the report and sends it here.
        </p>
        <pre>{`TEAM=ABCDE12345 bash probe.sh --minutes 10${data && !isOver ? ` \\\n  --link '${data.url}'` : ""}`}</pre>
        <p className="soft">
          TEAM is your development team, as Xcode shows it under Signing. Without <code>--link</code> it writes{" "}
          <code>report.json</code> for you to import here.
        </p>
      </details>
    </section>
  );
}

const clock = (seconds: number): string =>
  seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds} s`;

/** Whole seconds, updated each second. */
function useSecondsUntil(moment: string | Date | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (moment === null) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [moment]);
  return moment === null ? 0 : Math.max(0, Math.ceil((new Date(moment).getTime() - now) / 1000));
}

/** A report that came as a file. */
export function ImportReport() {
  const trpc = useTRPC();
  const queries = useQueryClient();
  const field = useRef<HTMLInputElement>(null);
  const [refused, setRefused] = useState<unknown>(null);
  const [taken, setTaken] = useState<string | null>(null);
  const { mutateAsync, isPending } = useMutation(trpc.reports.import.mutationOptions());
  const take = useCallback(
    async (file: File) => {
      setRefused(null);
      setTaken(null);
      try {
        if (file.size > MAX_REPORT_BYTES)
          throw new Error(`${file.name} has ${bytes(file.size)}; a report has at most ${bytes(MAX_REPORT_BYTES)}`);
        const { isNew, packages } = await mutateAsync({ content: await file.text() });
        setTaken(`${isNew ? "Imported" : "Already imported"}, for ${packages.map((p) => p.name).join(", ")}.`);
        for (const topic of ["packages", "reports", "devices"]) void queries.invalidateQueries({ queryKey: [[topic]] });
      } catch (thrown) {
        setRefused(thrown);
      }
    },
    [mutateAsync, queries],
  );
  return (
    <>
      <input
        ref={field}
        type="file"
        accept=".json,application/json"
        className="visually-hidden"
        tabIndex={-1}
        aria-label="A report of the probe"
        onChange={(e) => {
          const file = e.target.files?.[0];
          e.target.value = "";
          if (file) void take(file);
        }}
      />
      <button type="button" className="quiet" disabled={isPending} onClick={() => field.current?.click()}>
        Import a file
      </button>
      {taken ? <span role="status">{taken}</span> : null}
      {refused ? <ErrorNote error={refused} /> : null}
    </>
  );
}
