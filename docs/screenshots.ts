/**
 * @file `npm run screenshots`: the pictures in docs/, from the real workbench with a finished starter study.
 *
 * `ESPALIER_DATA` names a data directory that has one; without it the study is run first, which takes minutes. Needs a Chromium
 * (`CHROMIUM`, or /usr/bin/chromium).
 */
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { httpClient } from "../server/api/client.ts";
import { startWorkbench } from "../test/browser/browser-session.ts";

const folder = join(import.meta.dirname, "images");

/** A run of the study by its name, and the package it ends with. */
const made = async (): Promise<{ taught: string; package: string }> => {
  const runs = await httpClient(workbench.url, null).runs.list.query({});
  const taught = runs.find((r) => r.name === "distilled")?.id;
  const packaged = runs.find((r) => r.outputPackageId !== null)?.outputPackageId;
  if (!taught || !packaged) throw new Error("the study has no distillation or no package");
  return { taught, package: packaged };
};

interface Shown {
  readonly name: string;
  readonly path: string;
  /** What must be on the page before it is taken. */
  readonly until: string;
  readonly theme?: "dark";
}

const pagesOf = (ids: { taught: string; package: string }): Shown[] => [
  { name: "home", path: "/", until: "text=Lately" },
  { name: "models", path: "/models?model=distilled", until: "text=Where the bytes are" },
  { name: "explore", path: "/explore?drop=L6.H0-3,L4.H1&at=L5.H2&explain=L5.H2", until: "text=What it attends to" },
  {
    name: "explore-dark",
    path: "/explore?drop=L6.H0-3,L4.H1&at=L5.H2&explain=L5.H2",
    until: "text=What it attends to",
    theme: "dark",
  },
  { name: "quantize", path: "/quantize?model=distilled", until: "text=What each tensor loses" },
  { name: "tradeoff", path: "/tradeoff", until: "text=How small before it shows" },
  { name: "runs", path: "/runs", until: "text=succeeded" },
  { name: "run", path: `/runs/${ids.taught}`, until: "text=KL to the teacher" },
  { name: "notebook", path: "/notebooks/nb_starter", until: "text=Win it back" },
  { name: "package", path: `/packages/${ids.package}`, until: "text=ready" },
  { name: "devices", path: "/devices", until: "text=Devices" },
];

const workbench = await startWorkbench({ width: 1440, height: 900 }, process.env.ESPALIER_DATA);
const { page, url } = workbench;
try {
  await page.goto(url);
  const begin = page.getByRole("button", { name: "Run the starter study", exact: true });
  if (await begin.isVisible({ timeout: 5_000 }).catch(() => false)) {
    await begin.click();
    for (;;) {
      await page.goto(`${url}/runs?q=kind:export`);
      await wait(5_000);
      if (await page.getByText("succeeded").first().isVisible()) break;
    }
  }
  for (const { name, path, until, theme } of pagesOf(await made())) {
    await page.evaluate((t) => localStorage.setItem("theme", t), theme ?? "light");
    await page.goto(`${url}${path}`);
    await page.locator(until).first().waitFor({ timeout: 60_000 });
    // What is measured on the page comes a moment later.
    await wait(name.startsWith("explore") ? 20_000 : 4_000);
    await page.screenshot({ path: join(folder, `${name}.png`) });
    process.stdout.write(`${name}\n`);
  }
} finally {
  await workbench.close();
}
