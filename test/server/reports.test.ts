/** The whole loop without a phone: export, execute from the package alone, pair, post, join; and everything that is refused. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { exportConfig } from "../../experiments/kinds/export/config.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { parsePairingUrl, sendReport } from "../../experiments/probe/send.ts";
import { simulatePhone } from "../../experiments/probe/simulate.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { hashPackage } from "../../lib/formats/coreml/package-hash.ts";
import { MAX_REPORT_BYTES, type Report } from "../../lib/report/report.ts";
import { type Client, httpClient } from "../../server/api/client.ts";
import type { Core } from "../../server/core.ts";
import { packages, pairings } from "../../server/db/schema.ts";
import { startServer } from "../../server/http.ts";
import { registerPackage } from "../../server/packages/packages.ts";
import { createPairing, PAIRING_MS } from "../../server/reports/pairing.ts";
import { pairingUrl } from "../../server/reports/pairing-link.ts";
import type { WhatIfService } from "../../server/what-if/service.ts";
import { openTestCore, type TestClock, testClock } from "./workbench-fixture.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");

let clock: TestClock;
let core: Core;
let folder: string;
let report: Report;
let server: Awaited<ReturnType<typeof startServer>>;
let client: Client;
let packageId: string;

const whatIf: WhatIfService = {
  ask: () => Promise.reject(new Error("nobody asks what-if here")),
  close: async () => undefined,
};

beforeAll(async () => {
  clock = testClock();
  core = await openTestCore("embedded", clock);
  folder = join(await mkdtemp(join(tmpdir(), "espalier-probe-")), "package");
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const models = modelSession(engine, async () => starter);
  const sizes = { contexts: [64], prefill: [16], checkTokens: 16 };
  const config = exportConfig.parse({ model: "starter", out: folder, name: "Starter", ...sizes });
  await runExperiment(exportExperiment, config, { engine, models, store: memoryStore(), clock });
  await models.close();
  packageId = (await registerPackage(core, folder, { modelId: "starter", runId: "run_test" })).id;
  report = await simulatePhone(folder, { engine, clock, timedTokens: 4, timedCalls: 1, memoryBytes: () => 1 });
  server = await startServer({
    context: { core, whatIf, uploads: null, hubImports: null },
    pages: async (_request, response) => void response.writeHead(404).end(),
    address: "127.0.0.1",
    port: 0,
    token: "a-token-for-the-workbench",
    hosts: [],
    isDevelopment: false,
  });
  client = httpClient(server.url, "a-token-for-the-workbench");
}, 120_000);
afterAll(async () => {
  server.server.closeAllConnections();
  server.server.close();
  await core.close();
});

/** A report nobody has sent yet. */
const fresh = (): Report => ({ ...report, durationSeconds: Math.random() * 1000 });

interface Answer {
  status: number;
  body: { id?: string; error?: { code: string; message: string; hint: string | null } };
}
function post(body: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${server.url}/api/reports`,
      { method: "POST", agent: new Agent(), headers: { "content-type": "application/json", ...headers } },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (p: Buffer) => parts.push(p));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(parts).toString() || "{}") }),
        );
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}
const pairingToken = async (): Promise<string> => (await createPairing(core, packageId)).token;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test("the package, executed from the export alone, says what its golden vectors expect", () => {
  const [run] = report.runs;
  expect(run?.parity.map((p) => [p.case, p.passed, p.greedyIdentical, p.topAgreement])).toEqual([
    ["decode_64 at 64", true, true, 1],
    ["prefill16_64, then decode_64 at 64", true, true, 1],
  ]);
  for (const p of run?.parity ?? []) {
    expect(p.positions).toBeGreaterThan(30);
    expect(p.maxLogitDifference).toBeGreaterThan(0);
    expect(p.maxLogitDifference).toBeLessThan(p.tolerance);
  }
  expect(run?.decode.map((d) => [d.function, d.context])).toEqual([["decode_64", 64]]);
});

test("the plain layout is driven and held to its golden vectors as well", async () => {
  const plain = join(await mkdtemp(join(tmpdir(), "espalier-probe-")), "plain");
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const models = modelSession(engine, async () => starter);
  const sizes = { layout: "plain", contexts: [64], prefill: [16], checkTokens: 16 };
  const config = exportConfig.parse({ model: "starter", out: plain, name: "Plain", ...sizes });
  await runExperiment(exportExperiment, config, { engine, models, store: memoryStore(), clock });
  await models.close();
  const measured = await simulatePhone(plain, { engine, clock, timedTokens: 2, timedCalls: 1, memoryBytes: () => 1 });
  expect(measured.runs[0]?.parity.map((p) => [p.case, p.passed])).toEqual([
    ["decode at 64", true],
    ["prefill, then decode at 64", true],
  ]);
});

test("a phone pairs through the API, sends its report once, and the package has it", async () => {
  const paired = await client.reports.pair.mutate({ package: packageId });
  expect(paired.svg).toContain("<svg");
  expect(paired.addresses).toEqual([]);
  expect(paired.hint).toContain("HOST=0.0.0.0");
  expect(paired.code).toMatch(/^[2-9A-Z]{4}-[2-9A-Z]{4}$/);
  // Of a server that listens here only, the link names this machine.
  const target = parsePairingUrl(paired.url);
  expect(target.server).toBe(server.url);
  const sent = fresh();
  const answer = await sendReport(target, sent);
  expect(answer).toMatchObject({ package: "Starter", passed: true });
  // The line broke before the answer came: the same again is answered, another one is not.
  expect((await sendReport(target, sent)).id).toBe(answer.id);
  await expect(sendReport(target, fresh())).rejects.toMatchObject({
    code: "access/denied",
    message: expect.stringContaining("already been used"),
  });

  const got = await client.packages.get.query({ id: packageId });
  expect(got.reports.map((r) => r.id)).toContain(answer.id);
  expect(got.measured[0]).toMatchObject({
    reportId: answer.id,
    device: "simulated",
    computeUnits: "cpuOnly",
    failedCases: [],
    // No phone measured it, so the modelled figures stay.
    replacesModelled: false,
  });
  expect(await client.devices.list.query()).toMatchObject([{ identifier: "simulated", kind: "simulated" }]);
  expect((await client.reports.get.query({ id: answer.id })).body.package.sha256).toBe(report.package.sha256);
  expect(await client.reports.list.query({ package: packageId })).toHaveLength(1);
});

test("the short code works as well, typed in small letters", async () => {
  const { code } = await createPairing(core, packageId);
  expect((await post(JSON.stringify(fresh()), bearer(code.toLowerCase()))).status).toBe(201);
});

test("the secrets of pairings are not kept", async () => {
  const { token, code } = await createPairing(core, packageId);
  const rows = JSON.stringify(await core.db.select().from(pairings));
  expect(rows).not.toContain(token);
  expect(rows).not.toContain(code);
});

describe("refused", () => {
  test.each([
    ["without a code", {}, 401, "needs the code"],
    ["with a wrong code", bearer("not-a-token-of-a-pairing"), 401, "not known here"],
    ["with the server's own token, which is not a pairing", bearer("a-token-for-the-workbench"), 401, "not known here"],
  ])("%s", async (_name, headers: Record<string, string>, status, message) => {
    const answer = await post(JSON.stringify(fresh()), headers);
    expect(answer.status).toBe(status);
    expect(answer.body.error?.message).toContain(message);
  });

  test("a page of a browser, even with the code", async () => {
    const headers = { ...bearer(await pairingToken()), origin: server.url };
    expect((await post(JSON.stringify(fresh()), headers)).status).toBe(403);
  });

  test("under a name that is not the server's", async () => {
    const headers = { ...bearer(await pairingToken()), host: "evil.example" };
    expect((await post(JSON.stringify(fresh()), headers)).status).toBe(421);
  });

  test("a code that has run out", async () => {
    const token = await pairingToken();
    clock.advance(PAIRING_MS + 1000);
    const answer = await post(JSON.stringify(fresh()), bearer(token));
    expect([answer.status, answer.body.error?.message]).toEqual([401, expect.stringContaining("expired")]);
  });

  test("a second report with one code, also when both come at once", async () => {
    const token = await pairingToken();
    const answers = await Promise.all([1, 2, 3].map(() => post(JSON.stringify(fresh()), bearer(token))));
    expect(answers.map((a) => a.status).sort()).toEqual([201, 401, 401]);
  });

  test.each([
    ["text that is no JSON", "{", "not JSON"],
    ["another JSON", '{"hello":1}', "format"],
    ["bytes that are no text", "\xff\xfe", "not JSON"],
  ])("%s; the code stays good", async (_name, body, message) => {
    const token = await pairingToken();
    const answer = await post(body, bearer(token));
    expect([answer.status, answer.body.error?.message]).toEqual([400, expect.stringContaining(message)]);
    expect((await post(JSON.stringify(fresh()), bearer(token))).status).toBe(201);
  });

  test("a report that is too large", async () => {
    const token = await pairingToken();
    const large = JSON.stringify(fresh()).padEnd(MAX_REPORT_BYTES + 1, " ");
    expect((await post(large, bearer(token))).status).toBe(413);
  });

  test.each<[string, (r: Report) => unknown, string]>([
    ["a figure below zero", (r) => ({ ...r, durationSeconds: -1 }), "durationSeconds"],
    ["a field nobody knows", (r) => ({ ...r, extra: 1 }), "the whole"],
    ["a unit twice", (r) => ({ ...r, runs: [...r.runs, ...r.runs] }), "counts once"],
    ["a format of later", (r) => ({ ...r, format: "espalier-report/2" }), "espalier-report/2"],
    ["a thousand units", (r) => ({ ...r, runs: Array.from({ length: 1000 }, () => r.runs[0]) }), "runs"],
  ])("%s", async (_name, change, message) => {
    const answer = await post(JSON.stringify(change(fresh())), bearer(await pairingToken()));
    expect([answer.status, answer.body.error?.message]).toEqual([400, expect.stringContaining(message)]);
  });

  test("a report of a package that was made elsewhere, and one of another package than the paired one", async () => {
    const foreign = { ...fresh(), package: { ...report.package, sha256: "0".repeat(64) } };
    const answer = await post(JSON.stringify(foreign), bearer(await pairingToken()));
    expect([answer.status, answer.body.error?.message]).toEqual([400, expect.stringContaining("another package")]);
    await expect(client.reports.import.mutate({ content: JSON.stringify(foreign) })).rejects.toThrow(
      /no package here has the hash 000000000000/,
    );
  });

  test("every request for a while, once too many wrong codes were sent", async () => {
    const wrong = () => post("{}", bearer("guessed-code"));
    let answer = await wrong();
    for (let i = 0; i < 60 && answer.status === 401; i++) answer = await wrong();
    expect(answer.status).toBe(429);
    expect((await post(JSON.stringify(fresh()), bearer(await pairingToken()))).status).toBe(429);
    clock.advance(PAIRING_MS + 1000);
    expect((await post(JSON.stringify(fresh()), bearer(await pairingToken()))).status).toBe(201);
  });
});

test("a file is taken in by the user of the workbench, and the same one again is the same row", async () => {
  const content = JSON.stringify(fresh());
  const first = await client.reports.import.mutate({ content });
  // Order of keys and spaces are not what makes a report.
  const again = await client.reports.import.mutate({ content: JSON.stringify(JSON.parse(content), null, 2) });
  expect([first.isNew, again.isNew, again.report.id]).toEqual([true, false, first.report.id]);
  expect(first.packages).toEqual([{ id: packageId, name: "Starter" }]);
});

test("parity that fails is flagged for its unit, and its figures stand for nothing", async () => {
  const [run] = report.runs;
  if (!run) throw new Error("no run");
  const broken: Report = {
    ...fresh(),
    device: { ...report.device, kind: "iphone", identifier: "iPhone16,1" },
    runs: [
      { ...run, computeUnits: "cpuAndNeuralEngine", parity: run.parity.map((p) => ({ ...p, passed: false })) },
      { ...run, computeUnits: "cpuOnly" },
    ],
  };
  await client.reports.import.mutate({ content: JSON.stringify(broken) });
  const { measured } = await client.packages.get.query({ id: packageId });
  const of = (units: string) => measured.find((m) => m.device === "iPhone16,1" && m.computeUnits === units);
  expect(of("cpuAndNeuralEngine")).toMatchObject({ replacesModelled: false });
  expect(of("cpuAndNeuralEngine")?.failedCases).toEqual(run.parity.map((p) => p.case));
  expect(of("cpuOnly")).toMatchObject({ replacesModelled: true, failedCases: [] });
});

test("a package kept before there were reports gets its hash when one comes", async () => {
  await core.db.update(packages).set({ packageSha256: null });
  const { report: row } = await client.reports.import.mutate({ content: JSON.stringify(fresh()) });
  expect(row.packageSha256).toBe((await hashPackage(join(folder, "Starter.mlpackage"))).sha256);
});

test("the download of a package holds its probe", async () => {
  const response = await fetch(`${server.url}/api/packages/${packageId}.zip`, {
    headers: bearer("a-token-for-the-workbench"),
  });
  const zip = Buffer.from(await response.arrayBuffer());
  for (const path of [
    "Starter/Probe/Probe.xcodeproj/project.pbxproj",
    "Starter/Probe/Payload/golden.json",
    "Starter/Probe/Sources/HostTables.swift",
    "Starter/Starter.mlpackage/Manifest.json",
  ])
    expect(zip.includes(path)).toBe(true);
});

test("a package that was changed after the export is not measured", async () => {
  const path = join(folder, "Starter.mlpackage", "Manifest.json");
  const before = await readFile(path);
  await writeFile(path, `${before} `);
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  await expect(simulatePhone(folder, { engine, clock, memoryBytes: () => 1 })).rejects.toMatchObject({
    code: "input/invalid",
  });
  await writeFile(path, before);
});

test("a link for another package is not followed", async () => {
  const target = parsePairingUrl(pairingUrl(server.url, "token", "f".repeat(64)));
  await expect(sendReport(target, report)).rejects.toThrow(/different packages/);
  expect(() => parsePairingUrl("https://example.com/pair?token=1")).toThrow(/not a pairing link/);
  expect(() => parsePairingUrl("espalier-probe://pair?server=file:///etc/passwd&token=1")).toThrow(/not a plain http/);
});
