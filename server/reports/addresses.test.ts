import { expect, test } from "vitest";
import { reachableAddresses } from "./addresses.ts";

const one = (address: string, family: "IPv4" | "IPv6", internal = false) =>
  ({
    address,
    family,
    internal,
    netmask: "",
    mac: "",
    cidr: null,
    ...(family === "IPv6" ? { scopeid: 0 } : {}),
  }) as never;
const interfaces = () => ({
  lo: [one("127.0.0.1", "IPv4", true)],
  wifi: [one("192.168.1.7", "IPv4"), one("fe80::1", "IPv6")],
  odd: [one("169.254.3.3", "IPv4")],
});

test("a server that listens here only is reached by nobody else", () => {
  for (const address of ["127.0.0.1", "localhost", "::1"])
    expect(reachableAddresses({ address, port: 3000, hosts: ["a.local"] }, interfaces)).toEqual([]);
});

test("one that listens everywhere has the addresses of its networks, then its names", () => {
  expect(reachableAddresses({ address: "0.0.0.0", port: 3000, hosts: ["a.local"] }, interfaces)).toEqual([
    "http://192.168.1.7:3000",
    "http://a.local:3000",
  ]);
  expect(reachableAddresses({ address: "192.168.1.7", port: 80, hosts: [] }, interfaces)).toEqual([
    "http://192.168.1.7:80",
  ]);
});
