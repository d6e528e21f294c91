/**
 * @file What is true in every story: animals, jobs, opposites, the order of days. Told now and then, and asked also where
 * it was not told, so that it must be remembered.
 */
import type { Rng } from "../../../lib/random.ts";
import { type Question, type SceneMaker, several, upper, withArticle } from "./scene.ts";
import * as world from "./world.ts";

interface Fact {
  readonly tell: string;
  readonly question: string;
  readonly lead: string;
  readonly answer: string;
}

/** Facts of one sort: every answer may stand as a wrong choice for the others. */
type FactSort = (rng: Rng) => readonly Fact[];

const animal = (
  ask: (kind: string) => string,
  lead: (kind: string) => string,
  answer: (a: (typeof world.animals)[number]) => string,
): FactSort => {
  const facts = world.animals.map((a) => ({
    tell: `${upper(lead(withArticle(a.kind)))} ${answer(a)}.`,
    question: ask(withArticle(a.kind)),
    lead: upper(lead(withArticle(a.kind))),
    answer: answer(a),
  }));
  return () => facts;
};

const job = (
  ask: (name: string) => string,
  verb: string,
  answer: (j: (typeof world.jobs)[number]) => string,
): FactSort => {
  const facts = world.jobs.map((j) => ({
    tell: `A ${j.name} ${verb} ${answer(j)}.`,
    question: ask(j.name),
    lead: `A ${j.name} ${verb}`,
    answer: answer(j),
  }));
  return () => facts;
};

const opposite: FactSort = () => {
  const both = world.opposites.flatMap(([a, b]) => [
    [a, b],
    [b, a],
  ]);
  return both.map(([a, b]) => ({
    tell: `The opposite of ${a} is ${b}.`,
    question: `What is the opposite of ${a}?`,
    lead: `The opposite of ${a} is`,
    answer: b ?? "",
  }));
};

const dayOrder = (word: "after" | "before"): FactSort => {
  const step = word === "after" ? 1 : 6;
  const facts = world.days.map((d, i) => ({
    tell: `The day ${word} ${d} is ${world.days[(i + step) % 7]}.`,
    question: `Which day is ${word} ${d}?`,
    lead: `The day ${word} ${d} is`,
    answer: world.days[(i + step) % 7] ?? "",
  }));
  return () => facts;
};

const sorts: readonly FactSort[] = [
  animal(
    (a) => `What does ${a} say?`,
    (a) => `${a} says`,
    (a) => a.sound,
  ),
  animal(
    (a) => `Where is the home of ${a}?`,
    (a) => `${a} lives`,
    (a) => a.home,
  ),
  animal(
    (a) => `What is the child of ${a}?`,
    (a) => `the child of ${a} is`,
    (a) => withArticle(a.young),
  ),
  job(
    (j) => `Where is the work of a ${j}?`,
    "works",
    (j) => j.place,
  ),
  job(
    (j) => `What is made by a ${j}?`,
    "makes",
    (j) => j.makes,
  ),
  opposite,
  dayOrder("after"),
  dayOrder("before"),
];

/** Two sorts, some facts of each told, others only asked. */
export const facts: SceneMaker = (rng) => {
  const told: string[] = [];
  const questions: Question[] = [];
  for (const sort of several(rng, sorts, 2)) {
    let four: Fact[];
    // "late" is the opposite of "early" alone, so answers are different wherever questions are.
    do four = several(rng, sort(rng), 4);
    while (new Set(four.map((f) => f.answer)).size < 4);
    const choices = four.map((f) => ` ${f.answer}`);
    for (const f of several(rng, four, 2 + rng.integer(2))) told.push(f.tell);
    for (const [answer, f] of four.entries()) {
      questions.push({ kind: "fact", question: f.question, lead: f.lead, choices, answer });
    }
  }
  return { sentences: rng.shuffle(told), questions, echo: null };
};
