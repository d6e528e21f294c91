"use client";
/** @file What the good ones share: parallel coordinates of all runs in the table, or the curves of the picked ones. */
import { useState } from "react";
import { Segments } from "../parts/controls.tsx";
import type { RunGroup } from "./groups.ts";
import { Parallel } from "./parallel.tsx";
import { PickedCurves } from "./picked-curves.tsx";
import type { RunNames, RunRow } from "./run-row.ts";
import type { RunsView } from "./view.ts";

export function Shared(props: {
  view: RunsView;
  runs: readonly RunRow[];
  compared: readonly RunGroup[];
  names: RunNames;
  setPicks: (ids: readonly string[]) => void;
}) {
  const { view } = props;
  const [width, setWidth] = useState(0);
  const choose = (
    <Segments
      label="Picture"
      options={[
        ["parallel", "Parallel"],
        ["curves", "Curves"],
      ]}
      value={view.lower}
      onChange={(lower) => view.set({ lower })}
    />
  );
  return (
    <div
      className="runs-shared"
      ref={(box) => {
        if (!box) return;
        const watch = new ResizeObserver(() => setWidth(box.clientWidth));
        watch.observe(box);
        return () => watch.disconnect();
      }}
    >
      {view.lower === "curves" ? (
        <PickedCurves compared={props.compared} tools={choose} />
      ) : width > 0 ? (
        <Parallel {...props} width={width - 44} tools={choose} />
      ) : null}
    </div>
  );
}
