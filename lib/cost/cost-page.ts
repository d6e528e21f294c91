/** @file The tables of the cost model's page in the documentation, written from the figures and the fit. */
import { deviceById, devices } from "./devices.ts";
import { callTime, parameterNames } from "./model.ts";
import { publishedParameters } from "./parameters.ts";
import { publishedFigures } from "./published.ts";
import { ENOUGH_FIGURES, speedRange } from "./speed-range.ts";

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

function figureTable(use: "fit" | "check"): string {
  const lines = publishedFigures
    .filter((f) => f.use === use)
    .map((f) => {
      const device = deviceById(f.device);
      const ms = device ? callTime(f.workload, device, publishedParameters).totalMs : Number.NaN;
      return row([
        f.id,
        device?.name ?? f.device,
        f.measuredMs.toFixed(2),
        ms.toFixed(2),
        (ms / f.measuredMs).toFixed(2),
        `${f.source}. ${f.note}`,
      ]);
    });
  return [
    row(["figure", "device", "published ms", "modelled ms", "ratio", "source"]),
    row(["---", "---", "--:", "--:", "--:", "---"]),
    ...lines,
  ].join("\n");
}

export function costPage(): string {
  const parameters = parameterNames.map((n) => row([`\`${n}\``, String(publishedParameters[n])]));
  const table = devices.map((d) =>
    row([
      d.name,
      String(d.bandwidthGbps),
      String(d.engineScale),
      d.engineW === null ? "not published" : String(d.engineW),
      d.source,
    ]),
  );
  const ranges = devices.map(({ id, name }) => {
    const { low, high, figures, isOfChip } = speedRange(id);
    return row([
      name,
      low.toFixed(2),
      high.toFixed(2),
      isOfChip ? `${figures} of this chip` : `${figures}, of all chips`,
    ]);
  });
  return `# Cost model: speed, memory and placement before a phone has seen the package

\`lib/cost\` · tables written by \`npx vitest run lib/cost -u\`

**What.** The modelled time of a call is a roofline per product, each bound by the bytes of its weight or by its arithmetic, plus what
palette tables, the allocated cache, weights on other units, hand-overs between units and the call itself add:

    t = Σ_p max( bytes_p / (η_scheme · BW), flops_p / (R · scale) ) + κ₁ · tables + κ₂ · tables beyond one per four channels
      + cache / (C · BW / BW of the M4) + elsewhere / (η · BW) + hand-overs · h + operations · o + calls · c_family

A call costs an iPhone what one more package was measured to cost on A19 Pro, and a Mac what FunctionGemma leaves on an M4; the rate of the
cache, published for the M4 alone, is taken in proportion to the memory bandwidth. No other chip has figures for these two.

Operations are placed by what was published of placement, and scheduled so that borders are crossed as rarely as data allows. Memory
is weights, states and the most activations alive at once. Energy is given where an engine's power was published, a sustained
speed for iPhones from the one published ten-minute run. Everything is labelled modelled. \`refit\` moves the parameters to measured
reports by least squares on logarithms, with these values as priors. The workbench
keeps such a fit per chip (\`devices refit\`) and models that chip with it from then on. \`architectureWorkload\` gives the same counts from an
architecture alone, for what-ifs.

**When it misleads.** Held-out figures are met within 2.8 times, half of them within 1.25 times: good enough to rank recipes on one device,
not to promise a speed. Best known is the cliff of small palette groups (2 %); worst an early version of Gemma 4 E2B on an iPhone 15 Pro,
whose authors tripled its speed since. Prefill on iPhones rests on a single figure with nothing held out, and that figure is old:
read it as a floor. Engines of A17 Pro to A18 Pro are taken as equal. Reading the cache is fitted to Macs. The DMA notch is applied to
Macs only. Placement knows nothing of the size below which whole programs stay on the CPU.

**Reference.** Williams, Waterman and Patterson, "Roofline", 2009, for the form; the figures below for the numbers.

**Tested**: the parameters are what the fit gives; workloads counted by hand; refitting recovers the parameters that made synthetic
reports, moves nearer to them under noise, and leaves alone what reports say nothing of.

## Devices

${[row(["device", "GB/s", "engine", "engine W", "source"]), row(["---", "--:", "--:", "--:", "---"]), ...table].join("\n")}

## How far a modelled speed may be off

What was published of a chip and held out, as factors on a modelled speed; where a chip has fewer than ${ENOUGH_FIGURES} such figures, those of all chips.

${[row(["device", "from", "to", "held-out figures"]), row(["---", "--:", "--:", "---"]), ...ranges].join("\n")}

## Figures fitted to

${figureTable("fit")}

## Figures held out

${figureTable("check")}

## Parameters

${[row(["parameter", "value"]), row(["---", "--:"]), ...parameters].join("\n")}
`;
}
