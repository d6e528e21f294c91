"use client";
/** @file The log: only lines in view are drawn, it follows its end, and a warning shows its place on the curve. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import { Keys, Segments } from "../../parts/controls.tsx";
import { count } from "../../parts/format.ts";
import { useHotkeys } from "../../parts/hotkeys.ts";
import { Icon } from "../../parts/icons.tsx";
import { type Curve, clockTime, stepAt } from "./run-facts.ts";
import type { Line } from "./use-log.ts";

const ROW = 18;

export function LogView(props: {
  lines: readonly Line[];
  isComplete: boolean;
  isLive: boolean;
  curve: Curve | null;
  onPlace: (step: number | null) => void;
}) {
  const { curve, isLive, onPlace } = props;
  const [level, setLevel] = useState<"all" | "warnings">("all");
  const [follows, setFollows] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const warnings = props.lines.filter((l) => l.level !== "info");
  const lines = level === "all" ? props.lines : warnings;
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 20,
  });
  useHotkeys({ "run.follow": () => setFollows(!follows) });
  useEffect(() => {
    if (follows && lines.length > 0 && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follows, lines.length]);
  return (
    <section className="run-log" aria-label="Log">
      <div className="row" style={{ gap: 12 }}>
        <h3 style={{ margin: 0 }}>Log</h3>
        <Segments
          label="Lines"
          options={[
            ["all", "all"],
            ["warnings", warnings.length === 1 ? "1 warning" : `${count(warnings.length)} warnings`],
          ]}
          value={level}
          onChange={setLevel}
        />
        <button type="button" className="quiet small end" aria-pressed={follows} onClick={() => setFollows(!follows)}>
          {follows ? (isLive ? "following" : "at its end") : "follow"} <Keys of="run.follow" />
        </button>
      </div>
      {lines.length === 0 ? (
        <p className="soft" style={{ margin: "8px 0" }}>
          {props.isComplete ? (level === "all" ? "The log is empty." : "No warnings.") : "Reading the log"}
        </p>
      ) : (
        <div
          ref={box}
          className="run-lines mono"
          role="region"
          tabIndex={0}
          aria-label="Lines of the log"
          style={{ height: Math.min(260, Math.max(3, lines.length) * ROW + 4) }}
          onWheel={(e) => {
            if (e.deltaY < 0) setFollows(false);
          }}
        >
          <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
            {virtual.getVirtualItems().map((item) => {
              const l = lines[item.index];
              if (!l) return null;
              const step = l.level === "info" ? null : stepAt(curve, l.atMs);
              return (
                <div key={l.seq} className={`run-line ${l.level}`} style={{ top: item.start }}>
                  <span className="soft">{clockTime(l.atMs, true)}</span>
                  <span>
                    {l.level === "info" ? null : (
                      <>
                        <Icon name={l.level === "error" ? "cross" : "warning"} size={13} />
                        <span className="visually-hidden">{l.level}</span>
                      </>
                    )}
                  </span>
                  {step === null ? (
                    <span>{l.line}</span>
                  ) : (
                    <button type="button" title="Show its place on the curve" onClick={() => onPlace(step)}>
                      {l.line}
                    </button>
                  )}
                </div>
              );
            })}
          </div>
        </div>
      )}
    </section>
  );
}
