/**
 * @file The `Probe` folder of an export: an Xcode project that measures this package on a device.
 *
 * Swift sources, tests and texts are the files under `probe/` of this repository, copied; the project file, the manifest and the
 * golden vectors are written for the package. The package itself stays where it is and is copied into the app when that is built.
 */
import { cp, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PackageInterface } from "../../lib/decoder/package-interface.ts";
import { EspalierError } from "../../lib/errors.ts";
import { hashPackage } from "../../lib/formats/coreml/package-hash.ts";
import type { Golden } from "../kinds/export/golden.ts";
import { PROBE_FORMAT, type ProbeManifest } from "./manifest.ts";
import { whyNotEncoded } from "./tokenizer-support.ts";
import { projectFile, schemeFile } from "./xcode-project.ts";

const templates = fileURLToPath(new URL("../../probe", import.meta.url));

/** An app with more than this in it asks for the entitlement to use more memory. */
const MUCH_MEMORY_BYTES = 1.5e9;

export interface ProbeOptions {
  /** Folder of the export; the package, and the tokenizer where there is one, lie in it. */
  readonly folder: string;
  /** File name of the package in it now, and the one it will have in the end. */
  readonly written: string;
  readonly packageFile: string;
  readonly name: string;
  readonly drive: PackageInterface;
  readonly golden: Golden;
  /** Other files next to the package that are needed to drive it. */
  readonly companions?: readonly string[];
}

export async function writeProbe(options: ProbeOptions): Promise<ProbeManifest> {
  const { folder, packageFile, drive, golden } = options;
  const hash = await hashPackage(join(folder, options.written));
  const reason = whyNotEncoded(await tokenizerJson(folder));
  const manifest: ProbeManifest = {
    format: PROBE_FORMAT,
    name: options.name,
    package: packageFile,
    ...hash,
    interface: drive,
    tokenizer: { canEncode: reason === "", reason },
  };
  const probe = join(folder, "Probe");
  await mkdir(join(probe, "Payload"), { recursive: true });
  await writeFile(join(probe, "Payload", "probe.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  await writeFile(join(probe, "Payload", "golden.json"), `${JSON.stringify(golden)}\n`);

  const sources = await copySwift("Sources", probe);
  const tests = await copySwift("Tests", probe);
  const needsMuchMemory = hash.sizeBytes > MUCH_MEMORY_BYTES;
  for (const name of ["Info.plist", "README.md", "probe.sh", ...(needsMuchMemory ? ["Probe.entitlements"] : [])]) {
    const text = await readFile(join(templates, name), "utf8");
    await writeFile(join(probe, name), filled(text, name, { name: options.name, package: packageFile }));
  }
  const hasTokenizer = (await stat(join(folder, "tokenizer", "tokenizer.json")).catch(() => null)) !== null;
  const project = join(probe, "Probe.xcodeproj");
  await mkdir(join(project, "xcshareddata", "xcschemes"), { recursive: true });
  await writeFile(
    join(project, "project.pbxproj"),
    projectFile({
      sources,
      tests,
      payload: [
        `../${packageFile}`,
        "Payload/probe.json",
        "Payload/golden.json",
        ...(hasTokenizer ? ["../tokenizer"] : []),
        ...(options.companions ?? []).map((c) => `../${c}`),
      ],
      // Functions and states are of iOS 18, and the probe is written for it throughout.
      deploymentTarget: "18.0",
      needsMuchMemory,
    }),
  );
  await writeFile(join(project, "xcshareddata", "xcschemes", "Probe.xcscheme"), schemeFile());
  return manifest;
}

async function copySwift(part: string, probe: string): Promise<string[]> {
  const names = (await readdir(join(templates, part))).filter((n) => n.endsWith(".swift")).sort();
  await mkdir(join(probe, part), { recursive: true });
  for (const name of names) await cp(join(templates, part, name), join(probe, part, name));
  return names;
}

async function tokenizerJson(folder: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(folder, "tokenizer", "tokenizer.json"), "utf8"));
  } catch {
    return null;
  }
}

/** Puts values in for `{{name}}`. Throws `internal/invariant` for a placeholder that has none. */
function filled(text: string, file: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, key: string) => {
    const value = values[key];
    if (value === undefined) throw new EspalierError("internal/invariant", `internal: ${file} wants a ${key}`);
    return value;
  });
}
