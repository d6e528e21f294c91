import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { loadTensorFlow } from "./backend.ts";

test("the WASM backend loads from disk and multiplies matrices as three loops do", async () => {
  const { tf, backend, description } = await loadTensorFlow({ backend: "wasm", threads: 2 });
  expect([backend, tf.getBackend()]).toEqual(["wasm", "wasm"]);
  // No threads start in Node, and the description says so whatever was asked for.
  expect(description).toBe(`tfjs ${tf.version.tfjs}, WASM, 1 thread`);
  const rng = createRng(3, "wasm product");
  const [m, k, n] = [17, 29, 13];
  const a = Float32Array.from({ length: m * k }, rng.normal);
  const b = Float32Array.from({ length: k * n }, rng.normal);
  const product = tf.tidy(() => tf.matMul(tf.tensor2d(a, [m, k]), tf.tensor2d(b, [k, n])).dataSync());
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += (a[i * k + l] as number) * (b[l * n + j] as number);
      expect(product[i * n + j]).toBeCloseTo(sum, 4);
    }
  }
});

test("a second load gives the same TensorFlow.js", async () => {
  const first = await loadTensorFlow({ backend: "wasm" });
  const second = await loadTensorFlow({ backend: "wasm" });
  expect(second.tf).toBe(first.tf);
});

test("a native package that is not there is an error that says how to get it, even for auto", async () => {
  for (const backend of ["node", "auto"] as const) {
    await expect(loadTensorFlow({ backend, tfjsNodePath: "no/such/package" })).rejects.toMatchObject({
      code: "engine/unavailable",
      message: expect.stringContaining("no/such/package could not be loaded"),
      hint: expect.stringContaining("build-tfjs-node.sh"),
    });
  }
});

test("threads must be a positive integer", async () => {
  await expect(loadTensorFlow({ threads: 0 })).rejects.toMatchObject({ code: "input/invalid" });
});

test.runIf(process.env.ESPALIER_TFJS_NODE)("both backends compute in one process", async () => {
  const wasm = await loadTensorFlow({ backend: "wasm" });
  const node = await loadTensorFlow({ tfjsNodePath: process.env.ESPALIER_TFJS_NODE ?? "" });
  expect(node.backend).toBe("node");
  for (const { tf, activate, backend } of [node, wasm, node]) {
    activate();
    expect(tf.getBackend()).toBe(backend === "node" ? "tensorflow" : "wasm");
    expect([...tf.add(tf.tensor1d([1, 2]), 3).dataSync()]).toEqual([4, 5]);
  }
});
