/** Fresh databases on the Postgres that `.ci/postgres` starts, and the power to stop and start it. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import pg from "pg";

export const postgresUrl = process.env.ESPALIER_TEST_POSTGRES;
const control = process.env.ESPALIER_TEST_POSTGRES_CONTROL;
export const mayStopPostgres = postgresUrl !== undefined && control !== undefined;

export const stopPostgres = (): Buffer => execFileSync(control ?? "", ["stop"]);
export const startPostgres = (): Buffer => execFileSync(control ?? "", ["start"]);

export async function freshDatabase(): Promise<string> {
  const name = `espalier_${randomUUID().replaceAll("-", "")}`;
  await query(postgresUrl ?? "", `create database ${name}`);
  const url = new URL(postgresUrl ?? "");
  url.pathname = `/${name}`;
  return url.href;
}

export async function query<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}
