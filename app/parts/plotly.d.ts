declare module "plotly.js-cartesian-dist-min" {
  interface Plotly {
    react(element: HTMLElement, data: unknown[], layout: unknown, config: unknown): Promise<unknown>;
    purge(element: HTMLElement): void;
    toImage(
      figure: HTMLElement | { data: unknown[]; layout: unknown },
      options: Record<string, unknown>,
    ): Promise<string>;
    Fx: { hover(element: HTMLElement, points: unknown[]): void; unhover(element: HTMLElement): void };
  }
  const plotly: Plotly;
  export default plotly;
}
