/** @file A document: a story or some facts, then questions with their answers, one a line. */
import type { Rng } from "../../../lib/random.ts";
import { facts } from "./facts.ts";
import type { Question } from "./question.ts";
import { type Passage, story } from "./story.ts";

const STORY_SHARE = 0.85;

const passage = (rng: Rng): Passage => (rng.uniform() < STORY_SHARE ? story(rng) : facts(rng));

const ask = (q: Question): string => `Question: ${q.question} Answer:`;

/** A passage and two to four of its questions. */
export function corpusDocument(rng: Rng): string {
  const { text, questions } = passage(rng);
  const asked = rng.shuffle(questions).slice(0, 2 + rng.integer(3));
  return [text, ...asked.map((q) => `${ask(q)}${q.choices[q.answer]}.`)].join("\n");
}

export interface QuestionItem {
  readonly prompt: string;
  readonly choices: readonly string[];
  readonly answer: number;
  readonly kind: string;
}

/** A passage and one question about it, its answer still open. */
export function questionItem(rng: Rng): QuestionItem {
  const { text, questions } = passage(rng);
  const q = rng.pick(questions);
  return { prompt: `${text}\n${ask(q)}`, choices: q.choices, answer: q.answer, kind: q.kind };
}
