/**
 * @file A text that a person brings: what it looks like, and its parts to calibrate, select and report on.
 *
 * Documents, and questions, are dealt by position: of any five in a row three calibrate, the fourth selects, the fifth reports, so
 * that every part sees the whole text. A text without documents is cut at line ends (of few lines, between words) into its first three fifths, the next and the
 * last, because windows need what stands before them. Questions do not calibrate: four of five select, the fifth reports.
 */
import { EspalierError } from "../lib/errors.ts";
import { splitAtSeparator } from "../lib/eval/sequences.ts";

export type BroughtKind = "text" | "tasks";
export const parts = ["calibrate", "select", "report"] as const;
export type Part = (typeof parts)[number];

/** What is known of a text before it is kept. */
export interface TextLook {
  readonly kind: BroughtKind;
  readonly characters: number;
  /** Separators that occur, with the documents they would give; the first is the likely one. Empty for windows. */
  readonly separators: readonly { readonly separator: string; readonly documents: number }[];
  /** Of a list of questions. */
  readonly questions: number | null;
  /** How it begins. */
  readonly beginning: string;
}

/** Marks that corpora put between documents. */
const marks = ["<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "</s>", "<eos>", "\n\n\n"] as const;
const BEGINNING = 600;

export function lookAt(content: string): TextLook {
  const questions = countQuestions(content);
  return {
    kind: questions === null ? "text" : "tasks",
    characters: content.length,
    separators:
      questions === null
        ? marks.flatMap((separator) => {
            const documents = content.includes(separator) ? documentsIn(content, separator).length : 0;
            return documents > 1 ? [{ separator, documents }] : [];
          })
        : [],
    questions,
    beginning: content.slice(0, BEGINNING),
  };
}

const linesOf = (content: string): string[] => content.split(/\r?\n/).filter((l) => l.trim() !== "");

/** Null when the text is not a list of questions. */
function countQuestions(content: string): number | null {
  const lines = linesOf(content);
  const isQuestion = (line: string): boolean => {
    try {
      const value: unknown = JSON.parse(line);
      return typeof value === "object" && value !== null && "choices" in value;
    } catch {
      return false;
    }
  };
  return lines.length > 0 && lines.slice(0, 3).every(isQuestion) ? lines.length : null;
}

const documentsIn = (content: string, separator: string): string[] =>
  splitAtSeparator(content, separator).filter((d) => d.trim() !== "");

/**
 * The parts of a text by the rule above; those that would be empty are left out. Throws `input/invalid` for a separator that does
 * not occur, and for a text too short to have parts.
 */
export function dealt(
  content: string,
  { kind, separator }: { readonly kind: BroughtKind; readonly separator: string | null },
): Partial<Record<Part, string>> {
  if (kind === "tasks") return joined(linesOf(content), ["select", "select", "select", "select", "report"], "\n");
  if (separator === null) return consecutive(content);
  const documents = documentsIn(content, separator);
  return joined(documents, ["calibrate", "calibrate", "calibrate", "select", "report"], separator);
}

function joined(all: readonly string[], turns: readonly Part[], between: string): Partial<Record<Part, string>> {
  if (all.length < turns.length) throw tooShort(`${all.length} are too few to be dealt to three parts`);
  return Object.fromEntries(
    parts.flatMap((part): [Part, string][] => {
      const own = all.filter((_, i) => turns[i % turns.length] === part);
      return own.length > 0 ? [[part, own.join(between)]] : [];
    }),
  );
}

/** Shorter texts give windows too few to choose by. */
const SHORTEST = 1000;

function consecutive(content: string): Record<Part, string> {
  if (content.length < SHORTEST) throw tooShort(`it has ${content.length} characters`);
  const end = linesOf(content).length >= 10 ? "\n" : " ";
  const cut = (share: number): number => {
    const from = Math.floor(share * content.length);
    const at = content.indexOf(end, from);
    return at < 0 ? from : at + 1;
  };
  const [first, second] = [cut(0.6), cut(0.8)];
  return {
    calibrate: content.slice(0, first),
    select: content.slice(first, second),
    report: content.slice(second),
  };
}

const tooShort = (why: string): EspalierError =>
  new EspalierError("input/invalid", `the text cannot be split: ${why}`, {
    hint: "Keep it whole, for one purpose, or bring more text.",
  });
