/** @file Icons: 16 px, one stroke of 1.5 px, round ends, in the colour of the text beside them. */
import type { ReactNode } from "react";

const paths = {
  home: "M2.5 7.2 8 2.6l5.5 4.6M4 6.5v6.8h8V6.5M6.6 13.3V9.4h2.8v3.9",
  layers: "M8 2.2 14 5.4 8 8.6 2 5.4zM2.4 8.2 8 11.2l5.6-3M2.4 10.9 8 13.9l5.6-3",
  grid: "M2.5 2.5h4.2v4.2H2.5zM9.3 2.5h4.2v4.2H9.3zM2.5 9.3h4.2v4.2H2.5zM9.3 9.3h4.2v4.2H9.3z",
  bars: "M2.5 13.5h11M4 13.3V9M7 13.3V5.2M10 13.3V7.4M12.8 13.3V3",
  stairs: "M2.5 2.5v11h11M4.6 4.4h2.2v3h2.6v2.7h3.4",
  list: "M2.6 4h.2M2.6 8h.2M2.6 12h.2M5.5 4h8M5.5 8h8M5.5 12h8",
  notebook: "M4 2.5h8.5v11H4zM2.5 5h3M2.5 8h3M2.5 11h3M7.4 5.6h3M7.4 8.2h3",
  box: "M8 2.2 13.5 5v6L8 13.8 2.5 11V5zM2.7 5.1 8 7.9l5.3-2.8M8 7.9v5.7",
  phone: "M4.6 2h6.8v12H4.6zM7.2 11.9h1.6",
  chip: "M4.5 4.5h7v7h-7zM6.6 6.6h2.8v2.8H6.6zM6.2 2.4v2M9.8 2.4v2M6.2 11.6v2M9.8 11.6v2M2.4 6.2h2M2.4 9.8h2M11.6 6.2h2M11.6 9.8h2",
  moon: "M13 9.6A5.6 5.6 0 0 1 6.4 3 5.6 5.6 0 1 0 13 9.6z",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.8v1.4M8 12.8v1.4M1.8 8h1.4M12.8 8h1.4M3.6 3.6l1 1M11.4 11.4l1 1M12.4 3.6l-1 1M4.6 11.4l-1 1",
  search: "M7 2.6a4.4 4.4 0 1 0 0 8.8 4.4 4.4 0 0 0 0-8.8zM10.3 10.3l3.3 3.3",
  link: "M6.6 9.4l2.8-2.8M7.2 4.8l1.6-1.6a2.8 2.8 0 0 1 4 4l-1.6 1.6M8.8 11.2l-1.6 1.6a2.8 2.8 0 0 1-4-4l1.6-1.6",
  undo: "M5.6 3 2.8 5.8l2.8 2.8M3 5.8h6.2a3.6 3.6 0 0 1 0 7.2H6.4",
  redo: "M10.4 3l2.8 2.8-2.8 2.8M13 5.8H6.8a3.6 3.6 0 0 0 0 7.2h2.8",
  table: "M2.5 3h11v10h-11zM2.5 6.3h11M2.5 9.6h11M6.4 3v10",
  chart: "M2.5 2.5v11h11M4.8 10.6l2.6-3.4 2 1.8 3.2-4.4",
  upload: "M8 10.4V2.6M5 5.4l3-2.8 3 2.8M2.8 9.8v3.6h10.4V9.8",
  download: "M8 2.6v7.8M5 7.6l3 2.8 3-2.8M2.8 9.8v3.6h10.4V9.8",
  check: "M3 8.4 6.4 11.8 13 4.6",
  cross: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  ring: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3z",
  arc: "M8 2.8a5.2 5.2 0 1 0 5.2 5.2",
  pause: "M6 4v8M10 4v8",
  square: "M4.5 4.5h7v7h-7z",
  broken:
    "M6 5 7.2 3.8a2.5 2.5 0 0 1 3.6 3.6l-.6.6M10 11l-1.2 1.2a2.5 2.5 0 0 1-3.6-3.6l.6-.6M4 4.6l-1.4-.8M4.9 3.6l-.6-1.4M12 11.4l1.4.8M11.1 12.4l.6 1.4",
  play: "M5 3.2v9.6l7.6-4.8z",
  warning: "M8 2.6 14 13H2zM8 6.4v3M8 11.2v.1",
  info: "M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6zM8 7.4v3.4M8 5.2v.1",
  snowflake: "M8 2v12M2.8 5l10.4 6M13.2 5 2.8 11",
  copy: "M5.6 5.6h7.8v7.8H5.6zM10.4 5.4V2.6H2.6v7.8h2.8",
  pin: "M6 2.5h4M6.6 2.7v4L4.4 9h7.2L9.4 6.7v-4M8 9v4.6",
  columns: "M2.6 3h10.8v10H2.6zM6.2 3v10M9.8 3v10",
  chevron: "M4.4 6.2 8 9.8l3.6-3.6",
  up: "M4.4 9.8 8 6.2l3.6 3.6",
  dots: "M3.6 8h.1M8 8h.1M12.4 8h.1",
  keyboard: "M2 4.2h12v7.6H2zM4.4 6.8h.1M6.8 6.8h.1M9.2 6.8h.1M11.6 6.8h.1M5 9.4h6",
  folder: "M2.4 4h4l1.2 1.6h6v7.2H2.4z",
  pen: "M3 13l.6-2.8 7-7 2.2 2.2-7 7zM9.4 4.4l2.2 2.2",
  tag: "M2.6 2.6h5L13.4 8.4l-5 5L2.6 7.6zM5.4 5.4h.1",
  trash: "M3 4.6h10M6 4.4V3h4v1.4M4.4 4.8l.6 8.4h6l.6-8.4",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16, spin = false }: { name: IconName; size?: number; spin?: boolean }): ReactNode {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.5}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      className={spin ? "spin" : undefined}
      style={{ flex: "none" }}
    >
      <path d={paths[name]} />
    </svg>
  );
}

/** A tree trained flat against a wall. */
export function Mark() {
  return (
    <svg
      width={18}
      height={18}
      viewBox="0 0 18 18"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.6}
      strokeLinecap="round"
      aria-hidden="true"
      style={{ flex: "none" }}
    >
      <path d="M9 16.5V2.5M9 13c-5.5 0-6.5-1.6-6.5-8M9 13c5.5 0 6.5-1.6 6.5-8M9 9.6c-2.6 0-3.2-.9-3.2-4.6M9 9.6c2.6 0 3.2-.9 3.2-4.6" />
    </svg>
  );
}
