/**
 * @file A tensor whose data lies on an engine's device: made by `upload`, or by a run whose outputs stay there on request.
 *
 * The engine that made it takes it as an input instead of a tensor of the host. Its data reaches the host only by `read`.
 */
import { EspalierError } from "../errors.ts";
import type { Tensor, TensorData } from "../mil/tensor.ts";
import type { DType, Shape } from "../mil/types.ts";

export abstract class DeviceTensor implements Tensor {
  readonly dtype: DType;
  readonly shape: Shape;

  constructor(dtype: DType, shape: Shape) {
    this.dtype = dtype;
    this.shape = [...shape];
  }

  get data(): TensorData {
    throw new EspalierError(
      "input/invalid",
      `the tensor ${this.dtype}[${this.shape.join(", ")}] lies on a device, not in memory`,
      { hint: "Give it to the engine that holds it, or read() it first." },
    );
  }

  /** A copy in memory. */
  abstract read(): Promise<Tensor>;
  /** Frees the device's memory; the tensor is then no input any more. */
  abstract dispose(): void;
}

/** Frees a tensor that may lie on a device. */
export function release(t: Tensor): void {
  if (t instanceof DeviceTensor) t.dispose();
}
