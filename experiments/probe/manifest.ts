/**
 * @file `probe.json`: the facts that the probe app needs about its package: which files, how to
 * drive it, how to read text.
 *
 * How to drive it is the package's own interface (`espalier.interface` of its metadata, docs/package-interface.md), copied here
 * as it stands.
 */
import { z } from "zod";
import { type PackageInterface, packageInterface } from "../../lib/decoder/package-interface.ts";

export const PROBE_FORMAT = "espalier-probe/1";

export const probeManifestSchema = z.strictObject({
  format: z.literal(PROBE_FORMAT),
  name: z.string(),
  /** File name of the package, beside the `Probe` folder and in the app's `Payload`. */
  package: z.string(),
  sha256: z.string(),
  weightsSha256: z.string().nullable(),
  sizeBytes: z.number().int(),
  interface: packageInterface,
  /** Earlier versions also kept tokens here, which the interface says. */
  tokenizer: z.object({
    /** Whether the app can turn text into tokens itself; otherwise it continues the golden prompts only. */
    canEncode: z.boolean(),
    /** Why not; empty where it can. */
    reason: z.string(),
  }),
});
export type ProbeManifest = z.infer<typeof probeManifestSchema>;

/** What a decode function runs with: the prefill of the same context that takes the most tokens, if there is one. */
export function drivenPairs(
  drive: PackageInterface,
): { decode: string; prefill: string | null; context: number; width: number }[] {
  return drive.functions
    .filter((f) => f.role === "decode")
    .map((decode) => {
      const widest = drive.functions
        .filter((f) => f.role === "prefill" && f.context === decode.context)
        .sort((a, b) => b.width - a.width)[0];
      return {
        decode: decode.name,
        prefill: widest?.name ?? null,
        context: decode.context,
        width: widest?.width ?? 1,
      };
    });
}
