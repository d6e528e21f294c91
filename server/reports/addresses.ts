/** @file The addresses at which a phone in the same network can reach this server. */
import { networkInterfaces } from "node:os";

export interface Listening {
  /** The address it was bound to. */
  readonly address: string;
  readonly port: number;
  /** Further names it is known by. */
  readonly hosts: readonly string[];
}

const isLoopback = (address: string): boolean => /^(localhost|::1|\[::1\]|127\.\d+\.\d+\.\d+)$/i.test(address);
const isAny = (address: string): boolean => ["", "0.0.0.0", "::", "[::]"].includes(address);

/** `http://…` without a slash at the end, the likeliest first; empty when only this machine can reach it. */
export function reachableAddresses(
  { address, port, hosts }: Listening,
  interfaces: () => ReturnType<typeof networkInterfaces> = networkInterfaces,
): string[] {
  if (isLoopback(address)) return [];
  const named = hosts.map((h) => `http://${/:\d+$/.test(h) ? h : `${h}:${port}`}`);
  if (!isAny(address)) return [`http://${address.includes(":") ? `[${address}]` : address}:${port}`, ...named];
  const found = Object.values(interfaces())
    .flatMap((list) => list ?? [])
    .filter((i) => !i.internal && i.family === "IPv4" && !i.address.startsWith("169.254."))
    .map((i) => `http://${i.address}:${port}`);
  return [...found, ...named];
}
