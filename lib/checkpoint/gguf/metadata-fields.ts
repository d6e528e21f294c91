/** @file Reads one architecture's keys from GGUF metadata; errors name the file, the key and the
 * value. */
import { EspalierError } from "../../errors.ts";
import type { GgufFile } from "../../formats/gguf/gguf.ts";
import type { GgufValue } from "../../formats/gguf/metadata.ts";

export class MetadataFields {
  private readonly file: GgufFile;
  private readonly prefix: string;

  constructor(file: GgufFile, prefix: string) {
    this.file = file;
    this.prefix = prefix;
  }

  wrong(key: string, problem: string): EspalierError {
    const value = this.value(key);
    const found =
      value === undefined
        ? "it is missing"
        : `found ${JSON.stringify(value, (_, v) => (typeof v === "bigint" ? String(v) : v)).slice(0, 80)}`;
    return new EspalierError("model/config", `${this.file.path}: ${this.prefix}.${key} ${problem}, ${found}`);
  }

  value(key: string): GgufValue | undefined {
    return this.file.metadata.get(`${this.prefix}.${key}`);
  }

  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  /** Undefined when the key is missing. */
  optional(key: string): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return shortest(value);
    throw this.wrong(key, "must be a number");
  }

  number(key: string): number {
    const value = this.optional(key);
    if (value === undefined) throw this.wrong(key, "must be a number");
    return value;
  }

  text(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.wrong(key, "must be a text");
  }

  /** One number for all layers: a number, or an array that repeats one. Throws `format/unsupported` when layers differ. */
  sameInAllLayers(key: string): number {
    const value = this.value(key);
    if (!Array.isArray(value)) return this.number(key);
    const [first] = value;
    if (typeof first !== "number") throw this.wrong(key, "must be a number, or one for each layer");
    if (value.some((v) => v !== first)) {
      throw new EspalierError("format/unsupported", `${this.file.path}: ${this.prefix}.${key} differs by layer`, {
        hint: "GGUF models with uneven layers are not read; give the Hugging Face folder they were made from.",
      });
    }
    return first;
  }

  /** For features of this architecture that this reader cannot run. */
  refuse(key: string, what: string): void {
    const value = this.value(key);
    if (value !== undefined && value !== 0 && value !== false)
      throw new EspalierError(
        "format/unsupported",
        `${this.file.path}: ${what} (${this.prefix}.${key} is ${String(value)})`,
        {
          hint: "Such models are not read yet.",
        },
      );
  }
}

/** The number with the fewest digits that rounds to this fp32 value: 1e-5, not
 * 0.000009999999747378752. */
function shortest(value: number): number {
  if (Math.fround(value) !== value || Number.isInteger(value)) return value;
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
