/**
 * @file The two sizes of a model, everywhere in the same words: bytes of its weights, and bytes of its package.
 *
 * "Times smaller" is counted from one thing, the weights of the model it was first made from in fp16.
 */
import { bytes, count, fixed } from "./format.ts";

export interface ShippedSize {
  readonly weightBytes: number;
  /** Null where it is not known beforehand, or not at all. */
  readonly packageBytes: number | null;
  readonly packageIs: "predicted" | "written";
  readonly original: { readonly id: string; readonly fp16Bytes: number };
}

export const sizeTitles = {
  weights: "Codes, scales and tables of the weights, and fp16 for what is not compressed",
  package: "Every file of the package: the weights, the program of every function, and tables beside it",
} as const;

/** `7.9×` */
export const timesSmaller = ({ original }: Pick<ShippedSize, "original">, sizeBytes: number): string =>
  `${fixed(original.fp16Bytes / sizeBytes, 1)}×`;

export const smallerThan = ({ original }: Pick<ShippedSize, "original">): string =>
  `smaller than ${original.id} in fp16, ${bytes(original.fp16Bytes)}`;

/** Rows of a table of three columns: name, value, how sure. */
export function SizeRows({ of }: { of: ShippedSize }) {
  return (
    <>
      <tr title={sizeTitles.weights}>
        <th scope="row">Weights</th>
        <td className="number">
          <strong data-figure="weights">{count(of.weightBytes)} B</strong>
        </td>
        <td className="number soft">exact</td>
      </tr>
      {of.packageBytes === null ? null : (
        <tr title={`${sizeTitles.package}; ${timesSmaller(of, of.packageBytes)} ${smallerThan(of)}`}>
          <th scope="row">Package</th>
          <td className="number">
            <strong data-figure="package">{count(of.packageBytes)} B</strong>
          </td>
          <td className="number soft">
            {of.packageIs}, {timesSmaller(of, of.packageBytes)}
          </td>
        </tr>
      )}
    </>
  );
}
