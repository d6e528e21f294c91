/** What systems say of their GPU, read from answers of the kinds they give. */
import { expect, test } from "vitest";
import { graphicsDevice, type SystemFacts } from "../../lib/engines/onnxruntime/graphics-device.ts";

function system(
  platform: string,
  facts: Partial<Record<"programs" | "files" | "links" | "env", Record<string, string>>>,
) {
  const known = (of: Record<string, string> | undefined, key: string): string => {
    const found = of?.[key];
    if (found === undefined) throw new Error(`there is no ${key}`);
    return found;
  };
  const { programs, files, links, env = {} } = facts;
  const fake: SystemFacts = {
    platform,
    env,
    kernel: "6.1.0-18",
    run: async (program) => known(programs, program),
    read: async (path) => Buffer.from(known(files, path)),
    list: async (folder) => [
      ...new Set(
        Object.keys(files ?? {}).flatMap((f) =>
          f.startsWith(`${folder}/`) ? [f.slice(folder.length + 1).split("/")[0] ?? ""] : [],
        ),
      ),
    ],
    link: async (path) => known(links, path),
  };
  return fake;
}

test.each([
  [
    "a Mac",
    system("darwin", {
      programs: {
        system_profiler: JSON.stringify({ SPDisplaysDataType: [{ _name: "Apple M4", sppci_model: "Apple M4" }] }),
        sw_vers: "26.1\n",
      },
    }),
    { name: "Apple M4", driver: "macOS 26.1", isSoftware: false },
  ],
  [
    "Windows with a remote display beside the card",
    system("win32", {
      programs: {
        "powershell.exe": JSON.stringify([
          { Name: "Microsoft Basic Render Driver", DriverVersion: "10.0.1" },
          { Name: "NVIDIA GeForce RTX 4070", DriverVersion: "32.0.15.6094" },
        ]),
      },
    }),
    { name: "NVIDIA GeForce RTX 4070", driver: "32.0.15.6094", isSoftware: false },
  ],
  [
    "Linux with vulkaninfo, the discrete card first",
    system("linux", {
      programs: {
        vulkaninfo:
          "Devices:\n========\nGPU0:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU\n\tdeviceName         = llvmpipe (LLVM 15.0.6, 256 bits)\n\tdriverName         = llvmpipe\n\tdriverInfo         = Mesa 22.3.6\nGPU1:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n\tdeviceName         = AMD Radeon RX 7900 XTX (RADV NAVI31)\n\tdriverName         = radv\n\tdriverInfo         = Mesa 24.0.9\n",
      },
    }),
    { name: "AMD Radeon RX 7900 XTX (RADV NAVI31)", driver: "radv Mesa 24.0.9", isSoftware: false },
  ],
  [
    "Linux told to use a software driver",
    system("linux", {
      env: { VK_ICD_FILENAMES: "/opt/icd.json" },
      files: {
        "/opt/icd.json": JSON.stringify({
          file_format_version: "1.0.0",
          ICD: { library_path: "./libvk_swiftshader.so" },
        }),
        "/opt/libvk_swiftshader.so": "abc",
      },
    }),
    // SHA-256 of "abc" begins so (FIPS 180-2, appendix B.1).
    { name: "libvk_swiftshader.so", driver: "ba7816bf8f01", isSoftware: true },
  ],
  [
    "Linux with the kernel's word alone",
    system("linux", {
      files: { "/sys/class/drm/card0/device/vendor": "0x8086\n", "/sys/class/drm/card0/device/device": "0x46a6\n" },
      links: { "/sys/class/drm/card0/device/driver": "../../../bus/pci/drivers/i915" },
    }),
    { name: "Intel 0x46a6", driver: "i915, Linux 6.1.0-18", isSoftware: false },
  ],
  [
    "Linux with NVIDIA's driver",
    system("linux", {
      files: {
        "/proc/driver/nvidia/version":
          "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: 12\n",
      },
    }),
    { name: "NVIDIA", driver: "nvidia 550.54.14", isSoftware: false },
  ],
  ["a system that says nothing", system("linux", {}), null],
] as const)("%s", async (_, facts, expected) => {
  expect(await graphicsDevice(facts)).toEqual(expected);
});
