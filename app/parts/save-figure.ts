/** @file The formats a figure is saved in: SVG with text as text, PNG, CSV of the drawn data, JSON. Always in the light theme. */

export interface FigureTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/** RFC 4180; null is an empty field. */
export function csv({ columns, rows }: FigureTable): string {
  const field = (v: string | number | null): string => {
    const text = v === null ? "" : String(v);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${[columns, ...rows].map((r) => r.map(field).join(",")).join("\r\n")}\r\n`;
}

export function saveBlob(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const fileName = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");

const drawn = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-opacity",
  "stroke-linecap",
  "stroke-linejoin",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "letter-spacing",
  "text-anchor",
  "dominant-baseline",
  "paint-order",
  "visibility",
] as const;

/** An element that wears the light theme and is nowhere to be seen; gone after `use`. */
export async function inLightTheme<T>(use: (stage: HTMLElement) => Promise<T> | T): Promise<T> {
  const stage = document.createElement("div");
  stage.dataset.theme = "light";
  stage.style.cssText = "position:fixed;left:-10000px;top:0;background:var(--surface);color:var(--ink)";
  document.body.append(stage);
  try {
    return await use(stage);
  } finally {
    stage.remove();
  }
}

/** A drawing of ours with every style written into it, and the caption below. */
export const standaloneSvg = (svg: SVGSVGElement, caption: string): Promise<string> =>
  inLightTheme((stage) => {
    const { width, height } = svg.getBoundingClientRect();
    const copy = svg.cloneNode(true) as SVGSVGElement;
    stage.append(copy);
    for (const element of [copy, ...copy.querySelectorAll<SVGElement>("*")]) {
      const style = getComputedStyle(element);
      const css = drawn.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";");
      element.setAttribute("style", css);
      element.removeAttribute("class");
    }
    const foot = 28;
    const box = copy.getAttribute("viewBox") ?? `0 0 ${width} ${height}`;
    const [x = 0, y = 0, w = width, h = height] = box.split(/[ ,]+/).map(Number);
    copy.setAttribute("viewBox", `${x} ${y} ${w} ${h + (foot * h) / height}`);
    copy.setAttribute("width", String(width));
    copy.setAttribute("height", String(height + foot));
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    text.textContent = caption;
    text.setAttribute("x", String(x));
    text.setAttribute("y", String(y + h + (18 * h) / height));
    text.setAttribute("style", `font:${(11 * h) / height}px Inter,sans-serif;fill:#65696f`);
    copy.append(text);
    return new XMLSerializer().serializeToString(copy);
  });

/** `scale` pixels a point. */
export async function pngOf(svg: string, scale: number): Promise<Blob> {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    await new Promise((done, failed) => {
      image.onload = done;
      image.onerror = () => failed(new Error("the browser could not draw the figure"));
      image.src = url;
    });
    const canvas = document.createElement("canvas");
    canvas.width = image.width * scale;
    canvas.height = image.height * scale;
    const pen = canvas.getContext("2d");
    if (!pen) throw new Error("the browser has no canvas to draw on");
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done, failed) =>
      canvas.toBlob((b) => (b ? done(b) : failed(new Error("the browser could not write the picture"))), "image/png"),
    );
  } finally {
    URL.revokeObjectURL(url);
  }
}
