declare module "plotly.js-cartesian-dist-min" {
  interface Plotly {
    react(element: HTMLElement, data: unknown[], layout: unknown, config: unknown): Promise<unknown>;
    purge(element: HTMLElement): void;
    downloadImage(element: HTMLElement, options: Record<string, unknown>): Promise<string>;
  }
  const plotly: Plotly;
  export default plotly;
}
