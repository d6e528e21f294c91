/**
 * A full disk: a file system of its own (tmpfs; needs the right to mount), filled to the last byte. Whatever writes fails with
 * `store/disk-full` and a hint, nothing half is left under a final name, and after some space is freed work goes on.
 */
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiError } from "../../server/api/client.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { endAll, espalier, type Server, server, until } from "./processes.ts";
import { addWorkload, configs, ended, resultOf } from "./workload.ts";

let mount = "";
const mayMount = ((): boolean => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  try {
    mkdirSync("/tmp/espalier-mount", { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", "/tmp/espalier-mount"], { stdio: "ignore" });
    execFileSync("umount", ["/tmp/espalier-mount"]);
    return true;
  } catch {
    return false;
  }
})();

/** Takes what is free but `leave` bytes. */
function fill(folder: string, leave = 0): void {
  const free = (): number => {
    const out = execFileSync("df", ["--output=avail", "-B1", folder], { encoding: "utf8" });
    return Number(out.trim().split("\n")[1]);
  };
  const file = openSync(join(folder, "ballast"), "a");
  try {
    for (let left = free() - leave; left > 0; ) left -= writeSync(file, Buffer.alloc(Math.min(left, 1 << 20)));
    if (leave === 0) for (;;) writeSync(file, Buffer.alloc(1024));
  } catch (thrown) {
    expect(thrown).toMatchObject({ code: "ENOSPC" });
  } finally {
    closeSync(file);
  }
}
/** What the runs before left behind and the log's old segments are still being cleared away: fills until that is over. */
async function fillForGood(folder: string, leave: number): Promise<void> {
  const size = (): number => statSync(join(folder, "ballast")).size;
  fill(folder, leave);
  for (let before = 0; before !== size(); ) {
    before = size();
    await new Promise((done) => setTimeout(done, 2_500));
    fill(folder, leave);
  }
}
const free = (folder: string): void => rmSync(join(folder, "ballast"), { force: true });

describe.skipIf(!mayMount)("a full disk", () => {
  beforeAll(async () => {
    mount = join(await temporaryFolder(), "disk");
    mkdirSync(mount);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=160m", "tmpfs", mount]);
  });
  afterAll(async () => {
    await endAll();
    execFileSync("umount", ["-l", mount]);
  });

  test("runs fail with the reason, submissions are refused, the database survives, and all can be resumed", async () => {
    const data = join(mount, "data");
    const now: Server = await server({ ESPALIER_DATA: data });
    const client = () => now.client;
    await addWorkload(client());
    const kinds = ["prune", "distill", "quantize", "export"] as const;
    // The starter, whose checkpoints do not fit where rows still do.
    const changes = {
      prune: { model: "starter", drop: ["L0.H0"], ratio: null, text: null },
      distill: { model: "starter", student: "starter", steps: 2, batch: 1, context: 16, heldOutLimit: 1 },
      quantize: { model: "starter" },
      export: { model: "starter", context: [32], checkTokens: 16 },
    };
    const expected = new Map<string, unknown>();
    const ids: string[] = [];
    for (const kind of kinds) {
      const given = Object.entries({ ...configs[kind], ...changes[kind] }).filter(([, value]) => value !== null);
      const { id } = await client().runs.submit.mutate({ evaluation: "none", kind, config: Object.fromEntries(given) });
      expected.set(kind, await resultOf(client(), await ended(client, id)));
      ids.push(id);
    }
    await fillForGood(mount, 600_000);
    for (const [i, kind] of kinds.entries()) {
      const again = await client().runs.retry.mutate({ id: ids[i] ?? "" });
      const run = await ended(client, again.id);
      expect([kind, run.state, run.error?.code]).toEqual([kind, "failed", "store/disk-full"]);
      expect(run.error?.hint).toMatch(/space/);
      ids[i] = again.id;
    }
    const halves = readdirSync(join(data, "artifacts"), { recursive: true, encoding: "utf8" }).filter((f) =>
      f.endsWith(".partial"),
    );
    expect(halves).toEqual([]);
    for (const id of ids) expect(existsSync(join(data, "work", id, "out"))).toBe(false);

    // No room at all: the database refuses rows, in words, until there is some.
    fill(mount);
    const refused = await until("a row is refused", async () => {
      try {
        await client().texts.add.mutate({ id: `t${performance.now()}`, content: "x".repeat(20_000) });
        return null;
      } catch (thrown) {
        return apiError(thrown);
      }
    });
    expect([refused.code, refused.hint ?? ""]).toEqual(["store/disk-full", expect.stringMatching(/space/)]);
    const logged = await until("a submission is refused", async () => {
      for (let i = 0; i < 200; i++) {
        try {
          await client().notebooks.create.mutate({
            title: "full",
            cells: [{ id: "a", type: "markdown", text: String(Math.sin(i)).repeat(3000) }],
          });
        } catch (thrown) {
          return apiError(thrown);
        }
      }
      return null;
    });
    expect(logged.code).toBe("store/disk-full");

    free(mount);
    await until("rows are taken again", () => client().runs.update.mutate({ ids: [ids[0] ?? ""], note: "room" }));
    for (const [i, kind] of kinds.entries()) {
      await client().runs.resume.mutate({ id: ids[i] ?? "" });
      expect(await resultOf(client(), await ended(client, ids[i] ?? ""))).toEqual(expected.get(kind));
    }
    await now.kill("SIGINT");
    const later = await server({ ESPALIER_DATA: data }, { host: false });
    expect((await later.client.runs.list.query()).every((r) => r.state === "succeeded")).toBe(true);
    await later.kill("SIGINT");
  });

  test("commands that write files say so, and leave nothing under the name", async () => {
    const out = join(mount, "out");
    mkdirSync(out, { recursive: true });
    const data = { ESPALIER_DATA: await temporaryFolder() };
    for (const args of [
      ["prune", "starter", "--drop", "L0.H0", "--out", join(out, "pruned")],
      ["quantize", "starter", "--bits", "4", "--out", join(out, "small")],
      ["export", "starter", "--to", "coreml", "--out", join(out, "package")],
    ]) {
      fill(mount, 200_000);
      const command = espalier(args, data);
      await until(`${args[0]} ends`, () => !command.isAlive());
      free(mount);
      expect(command.said()).toContain("[store/disk-full]");
      expect(command.said()).toMatch(/hint: .*space/);
      expect(readdirSync(out)).toEqual([]);
    }
  });
});
