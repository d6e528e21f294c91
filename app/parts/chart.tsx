"use client";
/** @file Plotly behind one component: theme from the tokens, a sentence, a table of the same numbers, export. */
import { useEffect, useRef, useState } from "react";

export interface Series {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly (number | null)[];
  readonly kind: "line" | "points" | "staircase";
  /** Which colour of the series, dash and marker; null for references. */
  readonly style: number | null;
  readonly faint?: boolean;
  readonly labels?: readonly string[];
  readonly error?: { readonly low: readonly number[]; readonly high: readonly number[] };
}

export interface ChartProps {
  readonly title: string;
  readonly sentence: string;
  readonly series: readonly Series[];
  readonly x: { readonly title: string; readonly logarithmic?: boolean };
  readonly y: { readonly title: string; readonly logarithmic?: boolean };
  readonly height?: number;
  readonly onPick?: (label: string) => void;
}

const dashes = ["solid", "6px,3px", "2px,3px", "8px,3px,2px,3px", "1.5px,3px", "10px,4px"];
const symbols = ["circle", "square", "triangle-up", "diamond", "circle-open", "cross"];

/** 1, 2 and 5 times powers of ten within the data. */
function logarithmicTicks(values: readonly (number | null)[]): { tickvals?: number[]; ticktext?: string[] } {
  const positive = values.filter((v): v is number => v !== null && v > 0);
  if (positive.length === 0) return {};
  const [low, high] = [Math.min(...positive) * 0.8, Math.max(...positive) * 1.25];
  const ticks: number[] = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const m of [1, 2, 5]) if (m * 10 ** p >= low && m * 10 ** p <= high) ticks.push(m * 10 ** p);
  return { tickvals: ticks, ticktext: ticks.map((t) => String(Number(t.toPrecision(1)))) };
}

export function Chart({ title, sentence, series, x, y, height = 320, onPick }: ChartProps) {
  const at = useRef<HTMLDivElement>(null);
  const [asTable, setTable] = useState(false);
  const [theme, setTheme] = useState<string | null>(null);
  useEffect(() => {
    const read = (): void => setTheme(document.documentElement.dataset.theme ?? "");
    read();
    const watch = new MutationObserver(read);
    watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const element = at.current;
    if (!element || asTable || theme === null) return;
    let gone = false;
    void import("plotly.js-cartesian-dist-min").then(async ({ default: plotly }) => {
      if (gone) return;
      const css = getComputedStyle(document.documentElement);
      const token = (name: string): string => css.getPropertyValue(name).trim();
      const colour = (style: number | null): string => token(style === null ? "--ink-3" : `--d${(style % 6) + 1}`);
      const data = series.map((s) => ({
        type: "scatter",
        name: s.name,
        x: s.x,
        y: s.y,
        mode: s.kind === "points" ? (s.labels ? "markers+text" : "markers") : "lines",
        text: s.labels,
        textposition: "top center",
        textfont: { color: token("--ink-2"), size: 11 },
        opacity: s.faint ? 0.28 : 1,
        hoverinfo: s.faint ? "skip" : "all",
        connectgaps: false,
        line: {
          color: colour(s.style),
          width: 1.75,
          dash: dashes[(s.style ?? 0) % 6],
          shape: s.kind === "staircase" ? "hv" : "linear",
        },
        marker: { color: colour(s.style), size: 8, symbol: symbols[(s.style ?? 4) % 6] },
        ...(s.error
          ? {
              error_y: {
                type: "data",
                symmetric: false,
                array: s.error.high.map((h, i) => h - (s.y[i] ?? h)),
                arrayminus: s.error.low.map((l, i) => (s.y[i] ?? l) - l),
                color: token("--ink-3"),
                thickness: 1,
                width: 3,
              },
            }
          : {}),
      }));
      const axis = (a: ChartProps["x"], values: readonly (number | null)[]) => ({
        ...(a.logarithmic ? logarithmicTicks(values) : {}),
        title: { text: a.title, font: { size: 12 } },
        type: a.logarithmic ? "log" : "linear",
        gridcolor: token("--line"),
        linecolor: token("--line-2"),
        zeroline: false,
        nticks: 6,
      });
      const layout = {
        height,
        margin: { l: 60, r: 16, t: 8, b: 44 },
        paper_bgcolor: "transparent",
        plot_bgcolor: "transparent",
        font: { family: "Inter Variable, sans-serif", size: 11, color: token("--ink-3") },
        xaxis: axis(
          x,
          series.flatMap((s) => s.x),
        ),
        yaxis: axis(
          y,
          series.flatMap((s) => s.y),
        ),
        showlegend: series.filter((s) => !s.faint).length > 1,
        legend: { orientation: "h", y: 1.12 },
      };
      await plotly.react(element, data, layout, { displayModeBar: false, responsive: true });
      if (onPick && "on" in element && typeof element.on === "function")
        element.on("plotly_click", (event: { points: { text?: string }[] }) => {
          const label = event.points[0]?.text;
          if (label) onPick(label);
        });
    });
    return () => {
      gone = true;
    };
  }, [series, x, y, height, asTable, theme, onPick]);

  const save = async (format: "svg" | "png"): Promise<void> => {
    const { default: plotly } = await import("plotly.js-cartesian-dist-min");
    if (at.current)
      await plotly.downloadImage(at.current, {
        format,
        filename: title,
        width: 900,
        height: 480,
        scale: format === "png" ? 2 : 1,
      });
  };
  const rows = series
    .filter((s) => !s.faint)
    .flatMap((s) => s.x.map((v, i) => [s.name, s.labels?.[i] ?? "", v, s.y[i]] as const));
  const saveCsv = (): void => {
    const quoted = (v: unknown): string => `"${String(v ?? "").replaceAll('"', '""')}"`;
    const text = [["series", "label", x.title, y.title], ...rows].map((r) => r.map(quoted).join(",")).join("\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${title}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <figure style={{ margin: 0 }}>
      <figcaption className="row">
        <h2>{title}</h2>
        <span className="row" style={{ marginLeft: "auto" }}>
          <button type="button" aria-pressed={asTable} onClick={() => setTable(!asTable)}>
            View as table
          </button>
          <button type="button" onClick={() => void save("svg")}>
            SVG
          </button>
          <button type="button" onClick={() => void save("png")}>
            PNG
          </button>
          <button type="button" onClick={saveCsv}>
            CSV
          </button>
        </span>
      </figcaption>
      <p className="soft">{sentence}</p>
      {asTable ? (
        <div style={{ maxHeight: height, overflow: "auto" }}>
          <table>
            <thead>
              <tr>
                <th>series</th>
                <th>label</th>
                <th className="number">{x.title}</th>
                <th className="number">{y.title}</th>
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, 2_000).map(([name, label, vx, vy], i) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: rows of a curve have nothing else to tell them apart
                <tr key={i}>
                  <td>{name}</td>
                  <td>{label}</td>
                  <td className="number">{vx}</td>
                  <td className="number">{vy ?? "not finite"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <div ref={at} role="img" aria-label={`${title}. ${sentence}`} style={{ height }} />
      )}
    </figure>
  );
}
