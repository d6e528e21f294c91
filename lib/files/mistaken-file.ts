/**
 * @file Identifies, by its first bytes, a file that is not model weights, and says what to do about
 * it.
 */
import { EspalierError } from "../errors.ts";

interface Kind {
  readonly is: string;
  readonly hint: string;
}

const startsWith = (bytes: Uint8Array, text: string): boolean =>
  bytes.length >= text.length && [...text].every((c, i) => bytes[i] === c.charCodeAt(0));

const pickle: Kind = {
  is: "a PyTorch pickle",
  hint: "Pickles can run code when they are opened, so they are not read; take the model's safetensors files, or convert it with transformers (save_pretrained).",
};

const archive: Kind = { is: "a zip archive", hint: "Unpack it and give what is inside." };

/** Whether the first file of a zip archive is that of torch.save, or its name is too long to tell. */
function holdsPickle(bytes: Uint8Array): boolean {
  const end = 30 + (bytes[26] ?? 0) + 256 * (bytes[27] ?? 0);
  return end > bytes.length || String.fromCharCode(...bytes.subarray(30, end)).endsWith("data.pkl");
}

type Wanted = "safetensors" | "gguf" | "json" | "text" | null;

const begins = (...bytes: readonly number[]): string => String.fromCharCode(...bytes);

/** Files that people keep texts in and that are no texts themselves, by how they begin. */
const containers: readonly (readonly [start: string, is: string, hint: string])[] = [
  [begins(0x1f, 0x8b), "compressed with gzip", "Unpack it first: gunzip."],
  [begins(0x28, 0xb5, 0x2f, 0xfd), "compressed with zstd", "Unpack it first: zstd -d."],
  [begins(0xfd, 0x37, 0x7a, 0x58, 0x5a), "compressed with xz", "Unpack it first: xz -d."],
  ["BZh", "compressed with bzip2", "Unpack it first: bunzip2."],
  ["%PDF-", "a PDF document", "Take the text out first: pdftotext."],
  ["PAR1", "a Parquet table", "Write its text column to a text file first."],
  ["ARROW1", "an Arrow table", "Write its text column to a text file first."],
  ["SQLite format 3", "an SQLite database", "Write the texts to a text file first."],
];

/** Whether a file begins like safetensors: the length of a header, and the header. */
export const beginsLikeSafetensors = (bytes: Uint8Array): boolean =>
  bytes[8] === 0x7b && bytes.subarray(4, 8).every((b) => b === 0);

function kindOf(bytes: Uint8Array, wanted: Wanted): Kind | null {
  if (startsWith(bytes, "version https://git-lfs"))
    return {
      is: "a Git LFS pointer of a few lines, not the weights themselves",
      hint: "Run `git lfs pull` in that folder, or download the file from the model's page.",
    };
  if (wanted === "text") {
    const found = containers.find(([start]) => startsWith(bytes, start));
    if (found) return { is: found[1], hint: found[2] };
  }
  if (startsWith(bytes, "PK\u0003\u0004")) return holdsPickle(bytes) ? pickle : archive;
  // Before it wrote archives, torch.save wrote bare pickles.
  if (bytes[0] === 0x80 && (bytes[1] ?? 0) >= 2 && (bytes[1] ?? 0) <= 5) return pickle;
  // A page may be the text that is meant.
  if (wanted !== "text" && /^\s*<(!doctype|html)/i.test(String.fromCharCode(...bytes.subarray(0, 64))))
    return { is: "a web page", hint: "The download was answered with a page, perhaps one that asks you to log in." };
  if (wanted !== "gguf" && startsWith(bytes, "GGUF"))
    return { is: "a GGUF file", hint: "Give it a name that ends in .gguf." };
  if (wanted !== "safetensors" && beginsLikeSafetensors(bytes))
    return { is: "a safetensors file", hint: "Give the folder that holds it and its config.json." };
  return null;
}

/** Throws `format/unsupported` when a file that begins so is a known thing, yet not what was wanted. */
export function refuseMistakenFile(path: string, firstBytes: Uint8Array, wanted: Wanted): void {
  const kind = kindOf(firstBytes, wanted);
  if (kind) throw new EspalierError("format/unsupported", `${path} is ${kind.is}`, { hint: kind.hint });
}
