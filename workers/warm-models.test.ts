import { expect, test } from "vitest";
import { WarmModels } from "./warm-models.ts";

function warm(most: number) {
  const log: string[] = [];
  const models = new WarmModels<string>(
    most,
    async (key) => {
      log.push(`open ${key}`);
      if (key === "bad") throw new Error("cannot be opened");
      return key;
    },
    async (value) => {
      log.push(`close ${value}`);
    },
  );
  return { log, models, touch: (key: string) => models.use(key, async (v) => v) };
}

test("what was used longest ago is closed before another is opened", async () => {
  const { log, models, touch } = warm(2);
  for (const key of ["a", "b", "a", "c"]) expect(await touch(key)).toBe(key);
  expect(log).toEqual(["open a", "open b", "close b", "open c"]);
  expect(models.keys).toEqual(["a", "c"]);
});

test("what is in use stays until the last that uses it is done", async () => {
  const { log, models, touch } = warm(1);
  let finish = (): void => undefined;
  const held = models.use("a", () => new Promise<void>((resolve) => (finish = resolve)));
  await touch("b");
  expect(log).toEqual(["open a", "open b", "close b"]);
  finish();
  await held;
  expect(models.keys).toEqual(["a"]);
  await touch("c");
  expect(log.slice(3)).toEqual(["close a", "open c"]);
});

test("what cannot be opened is told, not kept and not closed", async () => {
  const { log, models, touch } = warm(1);
  await expect(touch("bad")).rejects.toThrow("cannot be opened");
  expect(models.keys).toEqual([]);
  await touch("a");
  expect(log).toEqual(["open bad", "open a"]);
});
