/**
 * @file A document: an opening, a scene with small talk between its sentences, and questions with their answers.
 *
 * Training and held-out text share words and ways of speaking but not pairs: one pair in sixteen, by a hash of its words,
 * is kept for held-out text, so a right answer there was read from the passage and not remembered from training.
 */
import type { Rng } from "../../../lib/random.ts";
import { type Allowed, drawScene, type Question, type Scene, several, told } from "./scene.ts";
import * as world from "./world.ts";

const openings = [
  "It was a quiet morning in the village.",
  "Once upon a time there was a small house near the sea.",
  "The sun was warm and the grass was tall.",
  "One day the rain came early.",
  "Everybody knew that something was about to happen.",
  "The old clock struck nine.",
  "Far away, behind the hills, there was a little town.",
  "It was the first day of winter.",
  "Nobody had slept well that night.",
  "The market was full of people.",
  "Listen to this story.",
  "This is what the children told me.",
] as const;

const smallTalk = [
  "The wind blew softly.",
  "A bird sang outside.",
  "They all laughed.",
  "Nobody said a word.",
  "It smelled of fresh bread.",
  "The cat slept on the chair.",
  "Then it was time for tea.",
  "The door was open.",
  "Somebody played a song.",
  "The fire was warm.",
  "Soon it would be dark.",
  "A dog barked far away.",
  "What a day it was.",
  "The road was long and dusty.",
  "There was a smell of rain.",
] as const;

const closings = [
  "In the evening everybody went home.",
  "And that was the end of the day.",
  "They never forgot it.",
  "Then the moon came up.",
  "After that they were all good friends.",
  "Tomorrow would be another day.",
] as const;

function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}

export const isHeldOut = (kind: string, key: string, value: string): boolean =>
  hash(`${kind}|${key}|${value}`) % 16 === 0;

export const inTraining: Allowed = (kind, key, value) => !isHeldOut(kind, key, value);
const anything: Allowed = () => true;

/** The passage: sentences of the scene in order, with small talk between some. */
function passage(rng: Rng, scene: Scene): string {
  const parts: string[] = [];
  if (rng.uniform() < 0.7) parts.push(rng.pick(openings));
  for (const sentence of scene.sentences) {
    parts.push(sentence);
    if (rng.uniform() < 0.3) parts.push(rng.pick(smallTalk));
  }
  if (rng.uniform() < 0.3) parts.push(dialogue(rng));
  return parts.join(" ");
}

/** Some sentences told again, word for word. */
function recap(rng: Rng, scene: Scene): string {
  return ["Now remember.", ...rng.shuffle(scene.sentences).slice(0, 2)].join(" ");
}

/** Somebody speaks, and is named again: a short copy over a few words. */
function dialogue(rng: Rng): string {
  const name = rng.pick(world.names);
  const food = rng.pick(world.foods);
  return rng.pick([
    `"I would like some ${food}," said ${name}. So ${name} got some ${food}.`,
    `"Where is ${name}?" they asked. "${name} is here," said ${name}.`,
    `"Look," said ${name}, "there are ${food}!" And they ate the ${food}.`,
  ]);
}

const questionLine = (q: Question): string => `Question: ${q.question} Answer: ${told(q)}`;

const rhymeWords = [
  ...world.things,
  ...world.foods,
  ...world.secrets,
  ...world.colours,
  ...world.pets,
  ...world.trips,
] as const;

/** A rhyme of any words, sung again and again: the plainest reason to look back. */
export function rhyme(rng: Rng): string {
  const words = several(rng, rhymeWords, 6 + rng.integer(18)).join(" ");
  return `${rng.pick(world.names)} sang: ${words}. Then all sang it again: ${words}. ${rng.pick(closings)}`;
}

/** One training document: a passage and two to four of its questions, one a line; or a rhyme, with that probability. */
export function trainingDocument(rng: Rng, rhymeShare = 0.1): string {
  if (rng.uniform() < rhymeShare) return rhyme(rng);
  return documentOf(rng, drawScene(rng, inTraining, 2 + rng.integer(4)));
}

/** As `trainingDocument`, with pairs training never saw among its own. */
export function heldOutDocument(rng: Rng): string {
  return documentOf(rng, drawScene(rng, anything, 2 + rng.integer(4)));
}

function documentOf(rng: Rng, scene: Scene): string {
  const asked = rng.shuffle(scene.questions).slice(0, 2 + rng.integer(3));
  const told = rng.uniform() < 0.35 ? `${passage(rng, scene)} ${recap(rng, scene)}` : passage(rng, scene);
  const closing = rng.uniform() < 0.4 ? ` ${rng.pick(closings)}` : "";
  return [told + closing, ...asked.map(questionLine)].join("\n");
}

export interface QuestionItem {
  readonly prompt: string;
  readonly choices: readonly string[];
  readonly answer: number;
  readonly kind: string;
}

/** A passage and one question about a pair that training never saw (but for facts that are always true). */
export function heldOutQuestion(rng: Rng): QuestionItem {
  for (;;) {
    const seen: { kind: string; key: string; value: string; held: boolean }[] = [];
    const scene = drawScene(
      rng,
      (kind, key, value) => {
        seen.push({ kind, key, value, held: isHeldOut(kind, key, value) });
        return true;
      },
      4,
    );
    const pairs = seen.slice(-4);
    const candidates = scene.questions.filter((q, i) => q.kind === "nature" || pairs[i]?.held);
    if (candidates.length === 0) continue;
    const q = rng.pick(candidates);
    const order = rng.shuffle(q.choices.map((_, i) => i));
    return {
      prompt: `${passage(rng, scene)}\nQuestion: ${q.question} Answer: ${q.opening}`,
      choices: order.map((i) => q.choices[i] ?? ""),
      answer: order.indexOf(q.answer),
      kind: q.kind,
    };
  }
}
