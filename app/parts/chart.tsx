"use client";
/**
 * @file Curves, scatter, bars: Plotly behind one component, in the frame of every figure.
 *
 * Colours, dashes and markers change together and come from the tokens. What a person drags or reads on the drawing
 * (budgets, marks, capsules) is drawn by the page over it, in `over`, with the scales of the axes.
 */
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { logTicks } from "./axis.ts";
import { Figure } from "./figure.tsx";
import { type FigureTable, inLightTheme } from "./save-figure.ts";

/** A page that will draw asks for it while its data is on the way. */
export const loadPlotly = () => import("plotly.js-cartesian-dist-min");

export interface Series {
  readonly name: string;
  readonly x: readonly (number | string)[];
  /** Null is a gap: nothing is drawn across it. */
  readonly y: readonly (number | null)[];
  readonly kind: "line" | "points" | "staircase" | "bars";
  /** Which of the six series; "ink" is ours, "reference" grey. */
  readonly style: number | "ink" | "reference";
  /** A raw line behind a smoothed one: 28 %, no hover, not in the table. */
  readonly faint?: boolean;
  /** Extrapolated: dotted. */
  readonly dotted?: boolean;
  readonly hollow?: boolean;
  readonly markerSize?: number;
  /** Instead of the marker of the style. */
  readonly marker?: "disc" | "square" | "triangle" | "diamond" | "ring";
  /** Points are joined. */
  readonly joined?: boolean;
  /** Of each point, shown on hover and in the table; given back by onPick. */
  readonly labels?: readonly string[];
  /** Written beside the points. */
  readonly showLabels?: boolean;
  /** Written at the end of the line, in its colour. */
  readonly direct?: string;
  /** Or at this share of its points. */
  readonly directAt?: number;
  readonly error?: { readonly low: readonly number[]; readonly high: readonly number[] };
  readonly band?: { readonly low: readonly number[]; readonly high: readonly number[] };
}

/** A moment on the x axis, or a stretch of it. */
export interface Mark {
  readonly x: number;
  readonly to?: number;
  readonly text?: string;
  readonly tone: "signal" | "warn" | "bad" | "reference";
}

export interface ChartAxis {
  readonly title: string;
  readonly logarithmic?: boolean;
  readonly range?: readonly [number, number];
  readonly format?: (value: number) => string;
  /** Instead of those that suit the range. */
  readonly ticks?: readonly number[];
}

/** Where the axes are, in pixels of the chart's box. */
export interface ChartFrame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  x(value: number): number;
  y(value: number): number;
  invertX(pixel: number): number;
  invertY(pixel: number): number;
}

export interface ChartProps {
  readonly title: string;
  readonly sentence: ReactNode;
  readonly series: readonly Series[];
  readonly x: ChartAxis;
  readonly y: ChartAxis;
  readonly height?: number;
  readonly marks?: readonly Mark[];
  readonly tools?: ReactNode;
  readonly stale?: { readonly refresh: () => void };
  readonly legend?: boolean;
  /** All series at one x in one box, for curves. */
  readonly unified?: boolean;
  readonly level?: 2 | 3;
  readonly onPick?: (label: string) => void;
  /** Drawn over the chart, in an svg of its size. */
  readonly over?: (frame: ChartFrame) => ReactNode;
  /** Instead of names and values of all series. */
  readonly table?: () => FigureTable;
  /** The same, behind the chart: grounds. */
  readonly under?: (frame: ChartFrame) => ReactNode;
}

const markers = {
  disc: "circle",
  square: "square",
  triangle: "triangle-up",
  diamond: "diamond",
  ring: "circle",
} as const;
const dashes = ["solid", "6px,3px", "2px,3px", "8px,3px,2px,3px", "1.5px,3px", "10px,4px"];
const symbols = ["circle", "square", "triangle-up", "diamond", "circle-open", "cross"];

type Token = (name: string) => string;

/** Reads a theme from an element that wears it. */
const tokensOf = (element: HTMLElement): Token => {
  const css = getComputedStyle(element);
  return (name) => css.getPropertyValue(name).trim();
};

const colourOf = (style: Series["style"], token: Token): string =>
  token(style === "ink" ? "--ink" : style === "reference" ? "--d7" : `--d${(style % 6) + 1}`);

function traces(series: readonly Series[], token: Token): unknown[] {
  return series.flatMap((s) => {
    const colour = colourOf(s.style, token);
    const index = typeof s.style === "number" ? s.style % 6 : 0;
    const isReference = s.style === "reference";
    const main = {
      type: s.kind === "bars" ? "bar" : "scatter",
      name: s.name,
      x: s.x,
      y: s.y,
      mode: s.kind === "points" ? `markers${s.showLabels ? "+text" : ""}${s.joined ? "+lines" : ""}` : "lines",
      text: s.labels,
      customdata: s.labels,
      textposition: "top center",
      textfont: { color: token("--ink-2"), size: 11 },
      hovertemplate: s.faint ? undefined : `${s.labels ? "%{customdata}<br>" : ""}%{y:.4~g}<extra>${s.name}</extra>`,
      opacity: s.faint ? 0.28 : 1,
      hoverinfo: s.faint ? "skip" : undefined,
      connectgaps: false,
      cliponaxis: false,
      line: {
        color: colour,
        width: s.faint ? 1 : 1.75,
        dash: s.dotted ? "2px,3px" : isReference ? "4px,3px" : dashes[index],
        shape: s.kind === "staircase" ? "hv" : "linear",
      },
      marker: {
        color: s.hollow ? token("--surface") : colour,
        size: s.markerSize ?? 8,
        symbol: s.marker ? markers[s.marker] : isReference ? "square" : symbols[index],
        line: { color: s.kind === "bars" || !s.hollow ? token("--surface") : colour, width: s.hollow ? 1.5 : 1 },
      },
      ...(s.error
        ? {
            error_y: {
              type: "data",
              symmetric: false,
              array: s.error.high.map((h, i) => h - (s.y[i] ?? h)),
              arrayminus: s.error.low.map((l, i) => (s.y[i] ?? l) - l),
              color: s.style === "ink" ? token("--ink") : colour,
              thickness: 1.5,
              width: 0,
            },
          }
        : {}),
    };
    if (!s.band) return [main];
    const edge = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, x: s.x };
    return [
      { ...edge, y: s.band.low },
      { ...edge, y: s.band.high, fill: "tonexty", fillcolor: withAlpha(colour, 0.14) },
      main,
    ];
  });
}

/** `#rrggbb` with an opacity. */
function withAlpha(hex: string, alpha: number): string {
  const n = Number.parseInt(hex.slice(1), 16);
  return `rgba(${n >> 16},${(n >> 8) & 255},${n & 255},${alpha})`;
}

function axisLayout(a: ChartAxis, values: readonly (number | string | null)[], token: Token): Record<string, unknown> {
  const positive = values.filter((v): v is number => typeof v === "number" && v > 0);
  const range = a.range ? (a.logarithmic ? a.range.map(Math.log10) : [...a.range]) : undefined;
  let ticks: readonly number[] | null = a.ticks ?? null;
  if (!ticks && a.logarithmic && positive.length > 0) {
    const [low, high] = a.range ?? [Math.min(...positive) * 0.8, Math.max(...positive) * 1.25];
    ticks = logTicks(low, high);
  }
  return {
    ...(ticks ? { tickvals: ticks, ticktext: ticks.map(a.format ?? String) } : {}),
    title: { text: a.title + (a.logarithmic ? " (log)" : ""), font: { size: 12 }, standoff: 8 },
    type: a.logarithmic ? "log" : undefined,
    range,
    gridcolor: token("--line"),
    linecolor: token("--line-2"),
    zeroline: false,
    nticks: 6,
    separatethousands: true,
    exponentformat: "none",
  };
}

function layoutOf(props: ChartProps, token: Token): Record<string, unknown> {
  const tones = {
    signal: token("--signal"),
    warn: token("--warn"),
    bad: token("--bad"),
    reference: token("--d7"),
  } as const;
  const halo = token("--surface");
  return {
    height: props.height ?? 320,
    margin: { l: 62, r: 18, t: 12, b: 46 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    separators: ".\u2009",
    font: { family: "Inter Variable, Inter, sans-serif", size: 11, color: token("--ink-3") },
    xaxis: axisLayout(
      props.x,
      props.series.flatMap((s) => s.x),
      token,
    ),
    yaxis: axisLayout(
      props.y,
      props.series.flatMap((s) => s.y),
      token,
    ),
    bargap: 0.15,
    hovermode: props.unified ? "x unified" : "closest",
    hoverlabel: {
      bgcolor: token("--raised"),
      bordercolor: token("--line-2"),
      font: { color: token("--ink"), size: 12 },
    },
    showlegend: props.legend ?? false,
    legend: { orientation: "h", y: 1.12 },
    shapes: (props.marks ?? []).map((m) => ({
      type: m.to === undefined ? "line" : "rect",
      x0: m.x,
      x1: m.to ?? m.x,
      y0: 0,
      y1: 1,
      yref: "paper",
      line: { color: tones[m.tone], width: m.to === undefined ? 1 : 0, dash: "4px,3px" },
      fillcolor: tones[m.tone],
      opacity: m.to === undefined ? 1 : 0.14,
    })),
    annotations: [
      ...(props.marks ?? []).flatMap((m) =>
        m.text
          ? [
              {
                x: props.x.logarithmic ? Math.log10(m.x) : m.x,
                y: 1,
                yref: "paper",
                xanchor: "left",
                yanchor: "top",
                showarrow: false,
                text: m.text,
                font: { color: tones[m.tone], size: 11 },
                bgcolor: halo,
              },
            ]
          : [],
      ),
      ...props.series.flatMap((s) => {
        const until = Math.max(1, Math.ceil((s.directAt ?? 1) * s.y.length));
        const last = s.direct ? s.y.slice(0, until).findLastIndex((v) => v !== null) : -1;
        const [x, y] = [s.x[last], s.y[last]];
        if (last < 0 || typeof x !== "number" || y === null || y === undefined) return [];
        return [
          {
            x: props.x.logarithmic ? Math.log10(x) : x,
            y: props.y.logarithmic ? Math.log10(y) : y,
            xanchor: s.directAt === undefined ? "right" : "left",
            yanchor: "bottom",
            showarrow: false,
            text: s.direct,
            font: { color: colourOf(s.style, token), size: 11 },
            bgcolor: halo,
          },
        ];
      }),
    ],
  };
}

interface PlotlyAxis {
  readonly _offset: number;
  readonly _length: number;
  d2p(value: number): number;
  p2d(pixel: number): number;
}

/** Plotly's own account of where its axes are; not part of its types. */
function frameOf(element: HTMLElement): ChartFrame | null {
  const full: unknown = Reflect.get(element, "_fullLayout");
  if (typeof full !== "object" || full === null) return null;
  const [x, y]: unknown[] = [Reflect.get(full, "xaxis"), Reflect.get(full, "yaxis")];
  if (!isAxis(x) || !isAxis(y)) return null;
  return {
    left: x._offset,
    top: y._offset,
    width: x._length,
    height: y._length,
    x: (v) => x._offset + x.d2p(v),
    y: (v) => y._offset + y.d2p(v),
    invertX: (p) => x.p2d(p - x._offset),
    invertY: (p) => y.p2d(p - y._offset),
  };
}
const isAxis = (a: unknown): a is PlotlyAxis =>
  typeof a === "object" && a !== null && "_offset" in a && "d2p" in a && "p2d" in a;

/** The theme of the page, told again when it changes. */
export function useTheme(): string | null {
  const [theme, setTheme] = useState<string | null>(null);
  useEffect(() => {
    const read = (): void => setTheme(document.documentElement.dataset.theme ?? "light");
    read();
    const watch = new MutationObserver(read);
    watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => watch.disconnect();
  }, []);
  return theme;
}

export function Chart(props: ChartProps) {
  const { title, sentence, series, x, y, height = 320, onPick, over, under } = props;
  const theme = useTheme();
  const [frame, setFrame] = useState<ChartFrame | null>(null);
  const [plot, setPlot] = useState<HTMLDivElement | null>(null);
  const pick = useRef(onPick);
  pick.current = onPick;
  const latest = useRef(props);
  latest.current = props;
  // Draw again when the data change, not when a parent made a new object with the same data.
  const drawnKey = useMemo(
    () => JSON.stringify([series, x, y, height, props.marks, props.legend, props.unified]),
    [series, x, y, height, props.marks, props.legend, props.unified],
  );
  useEffect(() => {
    if (!plot || theme === null || drawnKey === "") return;
    let gone = false;
    void loadPlotly().then(async ({ default: plotly }) => {
      if (gone) return;
      const token = tokensOf(document.documentElement);
      const layout = layoutOf(latest.current, token);
      await plotly.react(plot, traces(latest.current.series, token), layout, {
        displayModeBar: false,
        responsive: true,
      });
      if (gone) return;
      setFrame(frameOf(plot));
      if ("removeAllListeners" in plot && typeof plot.removeAllListeners === "function")
        for (const name of ["plotly_click", "plotly_afterplot", "plotly_relayout"]) plot.removeAllListeners(name);
      if ("on" in plot && typeof plot.on === "function") {
        plot.on("plotly_afterplot", () => setFrame(frameOf(plot)));
        plot.on("plotly_click", (event: { points: { customdata?: string }[] }) => {
          const label = event.points[0]?.customdata;
          if (label) pick.current?.(label);
        });
      }
    });
    return () => {
      gone = true;
    };
  }, [plot, theme, drawnKey]);
  useEffect(
    () => () => {
      if (plot) void loadPlotly().then(({ default: plotly }) => plotly.purge(plot));
    },
    [plot],
  );

  const toSvg = (): Promise<string> =>
    inLightTheme(async (stage) => {
      const { default: plotly } = await loadPlotly();
      const token = tokensOf(stage);
      const image = await plotly.toImage(
        {
          data: traces(series, token),
          layout: {
            ...layoutOf(props, token),
            title: { text: title, font: { size: 13, color: token("--ink") } },
            margin: { l: 70, r: 20, t: 40, b: 50 },
          },
        },
        { format: "svg", width: plot?.clientWidth ?? 900, height: height + 40 },
      );
      return decodeURIComponent(image.replace(/^data:image\/svg\+xml,/, ""));
    });
  const ownTable = (): FigureTable => ({
    columns: ["series", "label", x.title, y.title],
    rows: series
      .filter((s) => !s.faint)
      .flatMap((s) => s.x.map((v, i) => [s.name, s.labels?.[i] ?? "", v, s.y[i] ?? null] as const)),
  });
  // The box of numbers at a point opens from the keyboard too: arrows walk the points of the first series.
  const at = useRef(-1);
  const onKey = (event: React.KeyboardEvent): void => {
    const first = series.findIndex((s) => !s.faint);
    const points = series[first]?.x.length ?? 0;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || !plot || points === 0 || event.target !== event.currentTarget) return;
    event.preventDefault();
    at.current = Math.max(0, Math.min(points - 1, at.current + step * (event.shiftKey ? 10 : 1)));
    const before = series.slice(0, first).reduce((n, s) => n + (s.band ? 3 : 1), 0) + (series[first]?.band ? 2 : 0);
    void loadPlotly().then(({ default: plotly }) =>
      plotly.Fx.hover(plot, [{ curveNumber: before, pointNumber: at.current }]),
    );
  };
  return (
    <Figure
      title={title}
      sentence={sentence}
      table={props.table ?? ownTable}
      tools={props.tools}
      stale={props.stale}
      toSvg={toSvg}
      level={props.level ?? 2}
    >
      <div
        className="chart"
        role="img"
        tabIndex={0}
        aria-label={`${title}. Arrow keys step through the points; “View as table” lists all numbers.`}
        style={{ height }}
        onKeyDown={onKey}
      >
        {under && frame ? (
          <svg className="over" width="100%" height={height} aria-hidden="true">
            {under(frame)}
          </svg>
        ) : null}
        <div ref={setPlot} style={{ height, position: "relative" }} />
      </div>
      {over && frame ? (
        <div className="chart" style={{ marginTop: -height, height, pointerEvents: "none" }}>
          <svg className="over" width="100%" height={height} role="presentation">
            {over(frame)}
          </svg>
        </div>
      ) : null}
    </Figure>
  );
}
