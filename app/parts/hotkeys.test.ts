import { expect, test } from "vitest";
import { type Hotkey, hotkeys, keyLabels, keyName, keySequence } from "./hotkeys.ts";

const press = (key: string, held: Partial<Record<"metaKey" | "ctrlKey" | "shiftKey" | "altKey", boolean>> = {}) =>
  keyName({ key, metaKey: false, ctrlKey: false, shiftKey: false, altKey: false, ...held });

test("pressed keys are named as the table names them", () => {
  expect(press("k", { ctrlKey: true })).toBe("Mod-K");
  expect(press("Z", { metaKey: true, shiftKey: true })).toBe("Shift-Mod-Z");
  expect(press("?", { shiftKey: true })).toBe("?");
  expect(press("#", { shiftKey: true })).toBe("#");
  expect(press("M", { shiftKey: true })).toBe("Shift-M");
  expect(press(" ")).toBe("Space");
  expect(press("\\", { ctrlKey: true })).toBe("Mod-\\");
  expect(press("Enter", { shiftKey: true })).toBe("Shift-Enter");
});

test("G waits 800 ms for its second key", () => {
  const s = keySequence();
  expect(s.press("G", 0)).toEqual([]);
  expect(s.press("R", 700)).toEqual(["go.runs"]);
  expect(s.press("G", 1000)).toEqual([]);
  expect(s.press("T", 1900)).toEqual(["runs.tag"]);
});

test("a key that means two things belongs to two pages, never to one twice", () => {
  const seen = new Map<string, string>();
  for (const [id, h] of Object.entries<Hotkey>(hotkeys)) {
    if (h.keys === "" || h.inFigure) continue;
    for (const where of h.where === "Everywhere" || h.where === "Go to" ? ["Everywhere"] : [h.where]) {
      const key = `${where} ${h.keys}`;
      expect(seen.get(key), `${id} and ${seen.get(key)}`).toBeUndefined();
      seen.set(key, id);
    }
  }
});

test("keys are written as the machine at hand writes them", () => {
  expect(keyLabels("Shift-Mod-Z", true)).toEqual(["⇧", "⌘", "Z"]);
  expect(keyLabels("Mod-\\", false)).toEqual(["Ctrl", "\\"]);
  expect(keyLabels("G H", true)).toEqual(["G", "H"]);
  expect(keyLabels("-", true)).toEqual(["-"]);
});
