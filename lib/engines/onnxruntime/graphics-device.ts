/**
 * @file What the system says about the GPU of WebGPU: its name and driver, which are part of an engine's identity.
 *
 * ONNX Runtime gives no name of its adapter, so the system is asked: `system_profiler` on macOS, whose driver comes with the
 * system; WMI on Windows; on Linux `vulkaninfo` where it is installed, else the driver that the Vulkan loader is told to use
 * (`VK_DRIVER_FILES`, `VK_ICD_FILENAMES`), else the kernel's list of cards. With several GPUs the first real one is named,
 * as WebGPU picks one by its power; which one it took cannot be seen.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdir, readFile, readlink } from "node:fs/promises";
import { release as kernelRelease } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";

export interface GraphicsDevice {
  readonly name: string;
  readonly driver: string;
  /** The CPU in the place of a GPU: SwiftShader, llvmpipe, WARP. */
  readonly isSoftware: boolean;
}

/** What is asked of a system; every part fails where there is nothing of the kind. */
export interface SystemFacts {
  readonly platform: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly kernel: string;
  /** Standard output of a program. */
  run(program: string, args: readonly string[]): Promise<string>;
  read(path: string): Promise<Uint8Array>;
  list(folder: string): Promise<string[]>;
  /** Where a link leads. */
  link(path: string): Promise<string>;
}

export const thisSystem: SystemFacts = {
  platform: process.platform,
  env: process.env,
  kernel: kernelRelease(),
  run: async (program, args) =>
    (await promisify(execFile)(program, [...args], { timeout: 20_000, maxBuffer: 2 ** 24 })).stdout,
  read: (path) => readFile(path),
  list: (folder) => readdir(folder),
  link: (path) => readlink(path),
};

/** Null where the system names no GPU. */
export async function graphicsDevice(system: SystemFacts = thisSystem): Promise<GraphicsDevice | null> {
  const ways = waysOf[system.platform] ?? [];
  for (const way of ways) {
    const found = await way(system).catch(() => null);
    if (found) return { ...found, isSoftware: softwareNames.test(`${found.name} ${found.driver}`) };
  }
  return null;
}

const softwareNames = /swiftshader|llvmpipe|lavapipe|_lvp|microsoft basic render|\bwarp\b/i;

type Way = (system: SystemFacts) => Promise<{ name: string; driver: string } | null>;

const displays = z.object({ SPDisplaysDataType: z.array(z.object({ sppci_model: z.string().optional() })) });

const macOs: Way = async (system) => {
  const found = displays.parse(JSON.parse(await system.run("system_profiler", ["SPDisplaysDataType", "-json"])));
  const name = found.SPDisplaysDataType.flatMap((d) => d.sppci_model ?? [])[0];
  const version = (await system.run("sw_vers", ["-productVersion"])).trim();
  return name ? { name, driver: `macOS ${version}` } : null;
};

const controller = z.object({ Name: z.string(), DriverVersion: z.string().nullable() });

const windows: Way = async (system) => {
  const query = "Get-CimInstance Win32_VideoController | Select-Object Name,DriverVersion | ConvertTo-Json";
  const given: unknown = JSON.parse(await system.run("powershell.exe", ["-NoProfile", "-Command", query]));
  const all = z.array(controller).parse([given].flat());
  const first = all.find((c) => !softwareNames.test(c.Name)) ?? all[0];
  return first ? { name: first.Name, driver: first.DriverVersion ?? "unknown driver" } : null;
};

/** `GPU0:` … `deviceName = …`, `driverName = …`, `driverInfo = …`; discrete devices before integrated ones. */
const vulkanInfo: Way = async (system) => {
  const devices = (await system.run("vulkaninfo", ["--summary"]))
    .split(/^GPU\d+:/m)
    .slice(1)
    .map((text) => Object.fromEntries([...text.matchAll(/^\s*(\w+)\s*=\s*(.+?)\s*$/gm)].map((m) => [m[1], m[2]])));
  const rank = (kind = ""): number => ["DISCRETE", "INTEGRATED", "VIRTUAL"].findIndex((k) => kind.includes(k)) >>> 0;
  const [first] = devices.sort((a, b) => rank(a.deviceType) - rank(b.deviceType));
  return first?.deviceName
    ? { name: first.deviceName, driver: `${first.driverName ?? "unknown driver"} ${first.driverInfo ?? ""}`.trim() }
    : null;
};

const manifest = z.object({ ICD: z.object({ library_path: z.string() }) });

/** A driver that is named by its file has no version but its bytes. */
const namedDriver: Way = async (system) => {
  const path = (system.env.VK_DRIVER_FILES || system.env.VK_ICD_FILENAMES)?.split(":")[0];
  if (!path) return null;
  const { library_path } = manifest.parse(JSON.parse(Buffer.from(await system.read(path)).toString("utf8"))).ICD;
  const library = isAbsolute(library_path) ? library_path : join(dirname(path), library_path);
  const digest = await system.read(library).then(
    (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 12),
    () => "unknown bytes",
  );
  return { name: basename(library), driver: digest };
};

const vendors: Readonly<Record<string, string>> = { "0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel" };

const kernelCards: Way = async (system) => {
  const text = async (path: string): Promise<string> =>
    Buffer.from(await system.read(path))
      .toString("utf8")
      .trim();
  const nvidia = await text("/proc/driver/nvidia/version").catch(() => null);
  const version = nvidia ? (/Kernel Module.*?\s(\d+\.[\d.]+)/.exec(nvidia)?.[1] ?? null) : null;
  const cards = (await system.list("/sys/class/drm").catch(() => [])).filter((name) => /^card\d+$/.test(name)).sort();
  for (const card of cards) {
    const folder = `/sys/class/drm/${card}/device`;
    const vendor = await text(`${folder}/vendor`).catch(() => "");
    const maker = vendors[vendor];
    if (!maker) continue;
    const driver = basename(await system.link(`${folder}/driver`).catch(() => "unknown driver"));
    return {
      name: `${maker} ${await text(`${folder}/device`)}`,
      driver: maker === "NVIDIA" && version ? `nvidia ${version}` : `${driver}, Linux ${system.kernel}`,
    };
  }
  return version ? { name: "NVIDIA", driver: `nvidia ${version}` } : null;
};

const waysOf: Readonly<Record<string, readonly Way[]>> = {
  darwin: [macOs],
  win32: [windows],
  linux: [vulkanInfo, namedDriver, kernelCards],
};
