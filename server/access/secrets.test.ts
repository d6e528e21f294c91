import fc from "fast-check";
import { expect, test } from "vitest";
import { redactor, secretsOf } from "./secrets.ts";

const env = {
  ESPALIER_TOKEN: "tok-1234567890abcdef",
  DATABASE_URL: "postgres://maria:p%40ss/word-x@db.example:5432/espalier",
  AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE",
  AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  ARTIFACTS_URL: "s3://bucket/prefix?region=eu-west-1",
  PATH: "/usr/bin",
};

test("the secrets of an environment, and nothing else of it", () => {
  const found = secretsOf({ ...env, DATABASE_URL: "postgres://maria:p%40ssword@db/x" });
  expect(found).toContain(env.ESPALIER_TOKEN);
  expect(found).toContain("p%40ssword");
  expect(found).toContain("p@ssword");
  expect(found).toContain(env.AWS_SECRET_ACCESS_KEY);
  expect(found).not.toContain(env.PATH);
  expect(found).not.toContain(env.ARTIFACTS_URL);
});

const redact = redactor(secretsOf(env));

test.each([
  ["GET /?token=tok-1234567890abcdef&a=1", "GET /?token=[hidden]&a=1"],
  ["it said tok-1234567890abcdef twice", "it said [hidden] twice"],
  ["connecting to postgres://joe:hunter2@host/db", "connecting to postgres://joe:[hidden]@host/db"],
  ["postgres://joe:p@ss@host/db", "postgres://joe:[hidden]@host/db"],
  ["Authorization: Bearer abc.def-123", "Authorization: Bearer [hidden]"],
  ["Cookie: espalier-3000=abcdef; other=1", "Cookie: [hidden]"],
  ["saw espalier-3000=abcdef0123;", "saw espalier-3000=[hidden];"],
  [`{"password":"hunter2","user":"joe"}`, `{"password":"[hidden]","user":"joe"}`],
  [
    "https://s3/x?X-Amz-Credential=AK%2F1&X-Amz-Signature=00ff",
    "https://s3/x?X-Amz-Credential=[hidden]&X-Amz-Signature=[hidden]",
  ],
  ["key AKIAABCDEFGHIJKLMNOP", "key [hidden]"],
  ["secretAccessKey: 'abc123'", "secretAccessKey: '[hidden]'"],
])("%s", (line, expected) => {
  expect(redact(line)).toBe(expected);
});

test.each([
  "L3.H5 dropped, loss +0.021 at http://localhost:3000/runs/run_1?view=a",
  "1200 tokens/s, 4096 tokens in 3 s",
  "file:///shared/artifacts",
  "s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1",
])("an ordinary line stays as it is: %s", (line) => {
  expect(redact(line)).toBe(line);
});

test("no known secret survives, wherever it stands, plain or encoded", () => {
  const secret = fc
    .string({ minLength: 8, maxLength: 30 })
    .filter((s) => s.trim().length >= 8 && !s.includes("hidden"));
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
      const line = `${before} ${value} ${after} ${encodeURIComponent(value)}`;
      expect(redactor([value])(line).includes(value)).toBe(false);
    }),
  );
});

test("a value of a few letters does not blacken a log", () => {
  expect(redactor(["abc", undefined, null, ""])("abcdef ghi")).toBe("abcdef ghi");
});
