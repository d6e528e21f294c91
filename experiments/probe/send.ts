/** @file Sending a report as the probe does: to the address of a pairing link, with its token, once. */
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";
import type { Report } from "../../lib/report/report.ts";

export interface PairingTarget {
  readonly server: string;
  readonly token: string;
  /** The first 12 digits of the hash of the package. */
  readonly package: string;
}

/** Throws `input/invalid` for anything but a link that the workbench showed. */
export function parsePairingUrl(text: string): PairingTarget {
  const invalid = (reason: string): EspalierError =>
    new EspalierError("input/invalid", `"${text.slice(0, 120)}" is not a pairing link: ${reason}`, {
      hint: "Copy it from the page of the package; it begins with espalier-probe://pair.",
    });
  if (!URL.canParse(text)) throw invalid("it is not an address");
  const url = new URL(text);
  if (url.protocol !== "espalier-probe:" || url.host !== "pair")
    throw invalid("it does not begin with espalier-probe://pair");
  const server = url.searchParams.get("server") ?? "";
  const token = url.searchParams.get("token") ?? "";
  if (!/^https?:\/\/[^/?#]+$/.test(server)) throw invalid("its server is not a plain http address");
  if (token === "") throw invalid("it has no token");
  return { server, token, package: url.searchParams.get("package") ?? "" };
}

const accepted = z.object({ id: z.string(), package: z.string(), passed: z.boolean() });
const refused = z.object({ error: z.object({ message: z.string(), hint: z.string().nullish() }) });

/** Throws `access/denied` for 401 to 403 and 429, `input/invalid` for what the server says is wrong with the report. */
export async function sendReport(target: PairingTarget, report: Report): Promise<z.infer<typeof accepted>> {
  if (!report.package.sha256.startsWith(target.package))
    throw new EspalierError("input/invalid", "the link and the report are for different packages", {
      hint: "Pair on the page of the package that was measured.",
    });
  let response: Response;
  try {
    response = await fetch(`${target.server}/api/reports`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${target.token}` },
      body: JSON.stringify(report),
    });
  } catch (cause) {
    throw new EspalierError("store/io", `${target.server} does not answer`, {
      hint: "Check that the workbench is running and on the same network.",
      cause,
    });
  }
  const body: unknown = await response.json().catch(() => null);
  const taken = accepted.safeParse(body);
  if (response.ok && taken.success) return taken.data;
  const said = refused.safeParse(body);
  const message = said.success ? said.data.error.message : `the server answered ${response.status}`;
  const isAccess = [401, 403, 421, 429].includes(response.status);
  throw new EspalierError(isAccess ? "access/denied" : "input/invalid", message, {
    ...(said.success && said.data.error.hint ? { hint: said.data.error.hint } : {}),
  });
}
