/**
 * @file A story about one person: who, where, when, with what, why; each told once, in any order, and asked about later.
 *
 * An answer stands 20 to 150 tokens before its question, and nowhere else: what the story says of this person is drawn anew for
 * each story, so nothing but reading helps. The other choices are words of the same kind that this story does not use.
 */
import type { Rng } from "../../../lib/random.ts";
import { type Question, question, several } from "./question.ts";
import * as world from "./world.ts";

interface Person {
  readonly name: string;
  readonly they: "she" | "he";
  readonly their: "her" | "his";
}

/** One thing a story tells, and the question it answers. */
interface Episode {
  readonly sentence: string;
  readonly question: Question;
}

type EpisodeMaker = (rng: Rng, who: Person) => Episode;

const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const journey: EpisodeMaker = (rng, { name, they }) => {
  const place = rng.pick(world.places);
  const sentence = rng.pick([
    `${name} went to the ${place}.`,
    `${upper(they)} walked all the way to the ${place}.`,
    `Early in the morning ${they} ran to the ${place}.`,
  ]);
  return {
    sentence,
    question: question(rng, "place", `Where did ${name} go?`, place, world.places, (p) => `to the ${p}`),
  };
};

const finding: EpisodeMaker = (rng, { name, they }) => {
  const [thing, spot] = [rng.pick(world.things), rng.pick(world.spots)];
  const sentence = rng.pick([
    `${upper(they)} found a ${thing} ${spot}.`,
    `There was a ${thing} ${spot}, and ${name} took it.`,
  ]);
  return rng.uniform() < 0.5
    ? { sentence, question: question(rng, "thing", `What did ${name} find?`, thing, world.things, (t) => `a ${t}`) }
    : { sentence, question: question(rng, "spot", `Where was the ${thing}?`, spot, world.spots) };
};

const dressing: EpisodeMaker = (rng, { name, they, their }) => {
  const colour = rng.pick(world.colours);
  const wear = rng.pick(["coat", "dress", "shirt", "cap"]);
  const sentence = rng.pick([`${upper(they)} wore a ${colour} ${wear}.`, `${upper(their)} ${wear} was ${colour}.`]);
  return {
    sentence,
    question: question(rng, "colour", `What colour was the ${wear} of ${name}?`, colour, world.colours),
  };
};

const eating: EpisodeMaker = (rng, { name, they }) => {
  const food = rng.pick(world.foods);
  const sentence = rng.pick([
    `For lunch ${they} had some ${food}.`,
    `${upper(they)} loved ${food} more than anything.`,
    `"I would like some ${food}," said ${name}.`,
  ]);
  return { sentence, question: question(rng, "food", `What did ${name} eat?`, food, world.foods) };
};

const counting: EpisodeMaker = (rng, { name, they }) => {
  const [number, what] = [rng.pick(world.numbers), rng.pick(world.countables)];
  const sentence = rng.pick([
    `${upper(they)} saw ${number} ${what}.`,
    `There were ${number} ${what}, and ${name} counted them.`,
  ]);
  return { sentence, question: question(rng, "count", `How many ${what} were there?`, number, world.numbers) };
};

const whispering: EpisodeMaker = (rng, { name, they }) => {
  const secret = rng.pick(world.secrets);
  const sentence = rng.pick([
    `The secret word was ${secret}.`,
    `"${upper(secret)}," whispered ${name}, for that was the secret word.`,
    `${upper(they)} never forgot the secret word ${secret}.`,
  ]);
  return { sentence, question: question(rng, "secret", "What was the secret word?", secret, world.secrets) };
};

const feeling: EpisodeMaker = (rng, { name }) => {
  const [feel, reason] = [rng.pick(world.feelings), rng.pick(world.reasons)];
  const sentence = rng.pick([`${name} was ${feel} ${reason}.`, `That day ${name} felt ${feel} ${reason}.`]);
  return rng.uniform() < 0.5
    ? { sentence, question: question(rng, "feeling", `How did ${name} feel?`, feel, world.feelings) }
    : { sentence, question: question(rng, "reason", `Why was ${name} ${feel}?`, reason, world.reasons) };
};

const meeting: EpisodeMaker = (rng, { name, they }) => {
  const job = rng.pick(world.jobs);
  const sentence = rng.pick([`On the road ${they} met a ${job}.`, `An old ${job} came by and said hello.`]);
  return { sentence, question: question(rng, "job", `Who met ${name}?`, job, world.jobs, (j) => `a ${j}`) };
};

const keeping: EpisodeMaker = (rng, { name, their }) => {
  const pet = rng.pick(world.pets);
  const sentence = rng.pick([`${name} had a little ${pet}.`, `${upper(their)} ${pet} came along.`]);
  return {
    sentence,
    question: question(rng, "pet", `What animal did ${name} have?`, pet, world.pets, (p) => `a ${p}`),
  };
};

const dating: EpisodeMaker = (rng, { name }) => {
  const day = rng.pick(world.days);
  const sentence = rng.pick([`It was a ${day}.`, `All this was on a ${day}.`]);
  return {
    sentence,
    question: question(rng, "day", `On what day was the story of ${name}?`, day, world.days, (d) => `on a ${d}`),
  };
};

const episodes: readonly EpisodeMaker[] = [
  journey,
  finding,
  dressing,
  eating,
  counting,
  whispering,
  feeling,
  meeting,
  keeping,
  dating,
];

const openings = [
  "Once upon a time there was # who lived near the sea.",
  "This is the story of #.",
  "In a small house there lived #.",
  "Everybody in the village knew #.",
  "Long ago there was a child called #.",
  "Far away, behind the hills, lived #.",
] as const;

const smallTalk = [
  "The wind blew softly.",
  "A bird sang outside.",
  "Nobody said a word.",
  "It smelled of rain.",
  "Then it was time for tea.",
  "The door was open.",
  "Somebody played a song.",
  "The fire was warm.",
  "Soon it would be dark.",
  "What a day it was.",
  "The road was long and dusty.",
  "The old clock struck.",
  "It was very quiet.",
] as const;

const closings = [
  "In the evening everybody went home.",
  "And that was the end.",
  "Nobody ever forgot it.",
  "Then the moon came up.",
  "Tomorrow would be another day.",
] as const;

export interface Passage {
  readonly text: string;
  readonly questions: readonly Question[];
}

export function story(rng: Rng): Passage {
  const girl = rng.uniform() < 0.5;
  const name = rng.pick(girl ? world.girls : world.boys);
  const who: Person = girl ? { name, they: "she", their: "her" } : { name, they: "he", their: "his" };
  const told = several(rng, episodes, 4 + rng.integer(3)).map((make) => make(rng, who));
  const parts = [rng.pick(openings).replace("#", name)];
  for (const { sentence } of told) {
    parts.push(sentence);
    if (rng.uniform() < 0.35) parts.push(rng.pick(smallTalk));
  }
  if (rng.uniform() < 0.6) parts.push(rng.pick(closings));
  const hero = question(rng, "name", "Who is the story about?", name, [...world.girls, ...world.boys]);
  return { text: parts.join(" "), questions: [...told.map((e) => e.question), hero] };
}
