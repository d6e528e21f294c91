"use client";
/**
 * @file The frame of every figure: heading in words, one sentence with the finding, the drawing, its table, its exports.
 *
 * Drawings of ours are one `<svg>` inside `children`; others say how they are saved (`toSvg`).
 */
import { type ReactNode, useRef, useState } from "react";
import { IconButton, Menu } from "./controls.tsx";
import { csv, type FigureTable, fileName, pngOf, saveBlob, standaloneSvg } from "./save-figure.ts";

export interface FigureProps {
  readonly title: string;
  /** The finding and the meaning of bars, in one sentence. */
  readonly sentence: ReactNode;
  /** What is drawn, as numbers; asked for when it is needed. */
  readonly table: () => FigureTable;
  readonly children: ReactNode;
  /** Controls between the heading and the tools. */
  readonly tools?: ReactNode;
  /** Out of date: dimmed, with this action to mend it. */
  readonly stale?: { readonly refresh: () => void } | undefined;
  readonly toSvg?: (() => Promise<string>) | undefined;
  readonly level?: 2 | 3;
  /** The page keeps whether the table is shown; else the figure does. */
  readonly asTable?: boolean | undefined;
  readonly onTable?: ((on: boolean) => void) | undefined;
}

/** Rows a page shows; the CSV has all. */
const ROWS_SHOWN = 2_000;

export function Figure(props: FigureProps) {
  const { title, sentence, table, children, tools, stale, toSvg, level = 2 } = props;
  const [own, setOwn] = useState(false);
  const [failed, setFailed] = useState<string | null>(null);
  const asTable = props.asTable ?? own;
  const box = useRef<HTMLDivElement>(null);
  const svg = async (): Promise<string> => {
    if (toSvg) return toSvg();
    const drawing = box.current?.querySelector("svg[data-drawing]") ?? box.current?.querySelector("svg");
    if (!(drawing instanceof SVGSVGElement)) throw new Error("there is no drawing to save; close the table first");
    return standaloneSvg(drawing, title);
  };
  const save = (kind: string, make: () => Promise<Blob>) => () => {
    setFailed(null);
    make().then(
      (blob) => saveBlob(`${fileName(title)}.${kind}`, blob),
      (thrown: unknown) => setFailed(thrown instanceof Error ? thrown.message : String(thrown)),
    );
  };
  const png = (scale: number) => save("png", async () => pngOf(await svg(), scale));
  const Heading = level === 2 ? "h2" : "h3";
  return (
    <figure className={stale ? "figure stale" : "figure"}>
      <figcaption>
        <div>
          <Heading>{title}</Heading>
          <p>{sentence}</p>
        </div>
        <div className="tools">
          {tools}
          {stale ? (
            <button type="button" onClick={stale.refresh}>
              Refresh
            </button>
          ) : null}
          <IconButton
            icon={asTable ? "chart" : "table"}
            label={asTable ? `View “${title}” as a drawing` : `View “${title}” as table`}
            pressed={asTable}
            onClick={() => (props.onTable ?? setOwn)(!asTable)}
          />
          <Menu
            icon="upload"
            label={`Export “${title}”`}
            items={[
              { name: "SVG", onClick: save("svg", async () => new Blob([await svg()], { type: "image/svg+xml" })) },
              { name: "PNG", onClick: png(1) },
              { name: "PNG, 2×", onClick: png(2) },
              { name: "PNG, 3×", onClick: png(3) },
              { name: "CSV", onClick: save("csv", async () => new Blob([csv(table())], { type: "text/csv" })) },
              {
                name: "JSON",
                onClick: save(
                  "json",
                  async () => new Blob([JSON.stringify({ title, ...table() }, null, 1)], { type: "application/json" }),
                ),
              },
            ]}
          />
        </div>
      </figcaption>
      {failed ? <p role="alert">{failed}</p> : null}
      <div className="drawing" ref={box}>
        {asTable ? <TableView table={table()} caption={title} /> : children}
      </div>
    </figure>
  );
}

export function TableView({ table, caption }: { table: FigureTable; caption: string }) {
  const isNumber = table.columns.map((_, c) => table.rows.some((r) => typeof r[c] === "number"));
  return (
    <section style={{ maxHeight: 460, overflow: "auto" }} tabIndex={0} aria-label={`${caption}, as table`}>
      <table>
        <thead>
          <tr>
            {table.columns.map((name, c) => (
              <th key={name} className={isNumber[c] ? "number" : undefined}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.slice(0, ROWS_SHOWN).map((row, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows of a curve have nothing else to tell them apart
            <tr key={i}>
              {row.map((v, c) => (
                <td key={table.columns[c]} className={isNumber[c] ? "number" : undefined}>
                  {typeof v === "number" ? String(Number(v.toPrecision(6))).replace("-", "−") : v}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {table.rows.length > ROWS_SHOWN ? (
        <p className="soft">
          The first {ROWS_SHOWN} of {table.rows.length} rows; the CSV has all of them.
        </p>
      ) : null}
    </section>
  );
}
