/**
 * @file A document: an opening, one or two scenes with asides between their sentences, and questions with answers.
 *
 * A question is answered in a few words ("Answer: in the attic.") or in a sentence ("Answer: The drum is in the attic.").
 */
import type { Rng } from "../../../lib/random.ts";
import { facts } from "./facts.ts";
import { type Allowed, anything, inTraining } from "./held-out.ts";
import type { Question, Scene, SceneMaker } from "./scene.ts";
import { stories } from "./stories.ts";
import { aside, closing, opening } from "./wording.ts";

const FACTS_SHARE = 0.1;
const TWO_SCENES_SHARE = 0.12;
const SENTENCE_SHARE = 0.4;

export interface Passage {
  readonly text: string;
  readonly questions: readonly Question[];
}

function pickStory(rng: Rng, except?: string): { make: SceneMaker; topic: string } {
  const open = stories.filter((s) => s.topic !== except);
  let draw = rng.uniform() * open.reduce((n, s) => n + s.weight, 0);
  for (const story of open) {
    draw -= story.weight;
    if (draw < 0) return story;
  }
  return open[0] as (typeof stories)[number];
}

function told(rng: Rng, scene: Scene, asides: number): string[] {
  const parts: string[] = [];
  for (const sentence of scene.sentences) {
    parts.push(sentence);
    if (rng.uniform() < asides) parts.push(aside(rng));
  }
  if (scene.echo !== null && rng.uniform() < 0.35) parts.push(scene.echo);
  return parts;
}

/** A passage and every question it answers. */
export function drawPassage(rng: Rng, allowed: Allowed): Passage {
  const kind = rng.uniform();
  if (kind < FACTS_SHARE) {
    const scene = facts(rng, allowed);
    const parts = rng.uniform() < 0.5 ? [opening(rng), ...told(rng, scene, 0.2)] : told(rng, scene, 0.1);
    return { text: parts.join(" "), questions: scene.questions };
  }
  const first = pickStory(rng);
  const scenes = [first.make(rng, allowed)];
  if (kind < FACTS_SHARE + TWO_SCENES_SHARE) scenes.push(pickStory(rng, first.topic).make(rng, allowed));
  const parts = rng.uniform() < 0.85 ? [opening(rng)] : [];
  for (const scene of scenes) parts.push(...told(rng, scene, scenes.length === 1 ? 0.35 : 0.2));
  if (rng.uniform() < 0.5) parts.push(closing(rng));
  return { text: parts.join(" "), questions: scenes.flatMap((s) => s.questions) };
}

/** All of a question's line that comes before its answer. */
export function questionStem(rng: Rng, q: Question): { stem: string; sentence: boolean } {
  const sentence = rng.uniform() < SENTENCE_SHARE;
  return { stem: `Question: ${q.question} Answer:${sentence ? ` ${q.lead}` : ""}`, sentence };
}

function documentOf(rng: Rng, allowed: Allowed): string {
  const { text, questions } = drawPassage(rng, allowed);
  const asked = rng.shuffle(questions).slice(0, 2 + rng.integer(3));
  return [text, ...asked.map((q) => `${questionStem(rng, q).stem}${q.choices[q.answer]}.`)].join("\n");
}

/** One training document: a passage and two to four of its questions, one a line. */
export const trainingDocument = (rng: Rng): string => documentOf(rng, inTraining);

/** As `trainingDocument`, with combinations training never saw among its own. */
export const heldOutDocument = (rng: Rng): string => documentOf(rng, anything);
