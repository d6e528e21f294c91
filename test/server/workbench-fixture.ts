/** A workbench core on a fresh database: embedded, and on the Postgres that ESPALIER_TEST_POSTGRES names. */
import { randomUUID } from "node:crypto";
import { type Core, openCore } from "../../server/core.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

export const postgresUrl = process.env.ESPALIER_TEST_POSTGRES;
export const databases = postgresUrl ? (["embedded", "postgres"] as const) : (["embedded"] as const);

export interface TestClock {
  nowMs(): number;
  advance(ms: number): void;
}

/** Real time with a shift, so that leases can run out at once. */
export function testClock(): TestClock {
  let shift = 0;
  return {
    nowMs: () => performance.timeOrigin + performance.now() + shift,
    advance: (ms) => {
      shift += ms;
    },
  };
}

export async function openTestCore(kind: (typeof databases)[number], clock = testClock()): Promise<Core> {
  const dataDirectory = await temporaryFolder();
  if (kind === "embedded") return openCore({ dataDirectory, clock });
  const { default: pg } = await import("pg");
  const name = `espalier_${randomUUID().replaceAll("-", "")}`;
  const admin = new pg.Client({ connectionString: postgresUrl });
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  const url = new URL(postgresUrl ?? "");
  url.pathname = `/${name}`;
  return openCore({ dataDirectory, clock, databaseUrl: url.href });
}
