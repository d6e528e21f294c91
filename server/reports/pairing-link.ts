/**
 * @file What a person scans: a link that opens the probe, with the server's address and the token in it, as a QR code.
 *
 * `espalier-probe://pair?server=http%3A%2F%2F…&token=…&package=<first 12 digits of the hash>`. The scheme is the probe's own, so
 * that the phone's camera opens the app; the code is an SVG, black on white in either theme, since cameras miss inverted codes.
 */
import { renderSVG } from "uqr";
import type { Core } from "../core.ts";
import { getPackage } from "../packages/packages.ts";
import { type Listening, reachableAddresses } from "./addresses.ts";
import { createPairing } from "./pairing.ts";
import { packageHashOf } from "./reports.ts";

export interface PairingLink {
  readonly id: string;
  /** For typing, with the address. */
  readonly code: string;
  readonly expiresAt: Date;
  /** Addresses a phone may reach the server by; empty when it cannot. */
  readonly addresses: string[];
  readonly url: string;
  /** The QR code of `url`. */
  readonly svg: string;
  /** Why a phone cannot reach this server; null when it can. */
  readonly hint: string | null;
}

/** `listening` null: no server runs in this process. Throws `input/invalid` for an unknown package. */
export async function pair(core: Core, packageId: string, listening: Listening | null): Promise<PairingLink> {
  const hash = await packageHashOf(core, await getPackage(core, packageId));
  const { id, token, code, expiresAt } = await createPairing(core, packageId);
  const addresses = listening ? reachableAddresses(listening) : [];
  const local = listening ? `http://localhost:${listening.port}` : "http://localhost:3000";
  const url = pairingUrl(addresses[0] ?? local, token, hash);
  return { id, code, expiresAt, addresses, url, svg: qrCode(url), hint: hintFor(listening, addresses) };
}

export const pairingUrl = (server: string, token: string, packageSha256: string): string =>
  `espalier-probe://pair?${new URLSearchParams({ server, token, package: packageSha256.slice(0, 12) })}`;

export const qrCode = (text: string): string =>
  renderSVG(text, { ecc: "M", border: 2, blackColor: "#000", whiteColor: "#fff" });

function hintFor(listening: Listening | null, addresses: readonly string[]): string | null {
  if (listening === null)
    return "No server is running here. Start one with `espalier start`, or import the report as a file.";
  if (addresses.length > 0) return null;
  return "The server listens on this machine only, so a phone cannot reach it. Start it with HOST=0.0.0.0 and ESPALIER_TOKEN set to a secret of at least 16 characters, or import the report as a file.";
}
