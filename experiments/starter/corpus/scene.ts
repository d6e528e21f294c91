/**
 * @file Scenes: a few sentences about several people or things of one kind, and the questions they answer.
 *
 * Every scene ties a few keys (people, pets, days) to as many values (places, colours, foods), in random order, so that
 * the answer cannot be guessed from what was said last or most often: a reader must look back for the key. The values
 * are the choices. Training scenes have two to five pairs, questions for choosing always four.
 */
import type { Rng } from "../../../lib/random.ts";
import * as world from "./world.ts";

export interface Question {
  readonly kind: string;
  readonly question: string;
  /** With a leading space, as it follows "Answer:". */
  readonly choices: readonly string[];
  readonly answer: number;
}

export interface Scene {
  readonly sentences: readonly string[];
  readonly questions: readonly Question[];
}

/** Says whether a key may go with a value: pairs kept for held-out text never meet in training. */
export type Allowed = (kind: string, key: string, value: string) => boolean;

/** `count` different items. */
export function several<T>(rng: Rng, items: readonly T[], count: number): T[] {
  return rng.shuffle(items).slice(0, count);
}

const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

interface Pairing {
  readonly kind: string;
  readonly keys: readonly string[];
  readonly values: readonly string[];
  /** One way of saying it for the whole scene. */
  readonly tell: (key: string, value: string) => string;
  readonly ask: (key: string) => string;
  readonly answer: (value: string) => string;
}

/** `count` keys with as many values; tries again until every pair is allowed. */
function pair(rng: Rng, p: Pairing, allowed: Allowed, count: number): Scene {
  let keys: string[];
  let values: string[];
  do {
    keys = several(rng, p.keys, count);
    values = several(rng, p.values, count);
  } while (!keys.every((k, i) => allowed(p.kind, k, values[i] ?? "")));
  const choices = values.map((v) => ` ${p.answer(v)}`);
  const questions = keys.map((key, answer) => ({ kind: p.kind, question: p.ask(key), choices, answer }));
  return { sentences: keys.map((k, i) => upper(p.tell(k, values[i] ?? ""))), questions };
}

type SceneMaker = (rng: Rng, allowed: Allowed, count: number) => Scene;

const hidden: SceneMaker = (rng, allowed, count) => {
  const things = rng.shuffle(world.things);
  const keys = world.names.map((n, i) => `${n}|${rng.pick(world.colours)} ${things[i % things.length]}`);
  const name = (k: string): string => k.split("|")[0] ?? "";
  const thing = (k: string): string => k.split("|")[1] ?? "";
  const verb = rng.pick(["put", "hid", "left", "kept"]);
  return pair(
    rng,
    {
      kind: "place",
      keys,
      values: world.places,
      tell: (k, v) => `${name(k)} ${verb} the ${thing(k)} ${v}.`,
      ask: (k) => `Where is the ${thing(k)}?`,
      answer: (v) => v,
    },
    (kind, k, v) => allowed(kind, name(k), v),
    count,
  );
};

const wearing: SceneMaker = (rng, allowed, count) => {
  const thing = rng.pick(["hat", "scarf", "coat", "boat", "kite", "bag", "lamp", "cup"]);
  return pair(
    rng,
    {
      kind: "colour",
      keys: world.names,
      values: world.colours,
      tell: (k, v) => `${k} had a ${v} ${thing}.`,
      ask: (k) => `What colour was the ${thing} of ${k}?`,
      answer: (v) => v,
    },
    allowed,
    count,
  );
};

const eating: SceneMaker = (rng, allowed, count) => {
  const like = rng.pick(["likes to eat", "always asks for", "dreams of"]);
  return pair(
    rng,
    {
      kind: "food",
      keys: world.pets,
      values: world.foods,
      tell: (k, v) => `the ${k} ${like} ${v}.`,
      ask: (k) => `What does the ${k} like?`,
      answer: (v) => v,
    },
    allowed,
    count,
  );
};

const secret: SceneMaker = (rng, allowed, count) => {
  const say = rng.pick(["The secret word of # is", "# wrote down the word", "# whispered the word"]);
  return pair(
    rng,
    {
      kind: "secret",
      keys: world.names,
      values: world.secrets,
      tell: (k, v) => `${say.replace("#", k)} ${v}.`,
      ask: (k) => `What is the secret word of ${k}?`,
      answer: (v) => v,
    },
    allowed,
    count,
  );
};

const week: SceneMaker = (rng, allowed, count) => {
  const who = rng.pick(["the children", "the two friends", "the class", "the whole family"]);
  return pair(
    rng,
    {
      kind: "day",
      keys: world.days,
      values: world.trips,
      tell: (k, v) => `on ${k} ${who} went to the ${v}.`,
      ask: (k) => `Where did they go on ${k}?`,
      answer: (v) => `to the ${v}`,
    },
    allowed,
    count,
  );
};

const giving: SceneMaker = (rng, allowed, count) => {
  const giver = rng.pick(["Grandmother", "Grandfather", "The king", "The postman"]);
  return pair(
    rng,
    {
      kind: "gift",
      keys: world.things,
      values: world.names,
      tell: (k, v) => `${giver} gave the ${k} to ${v}.`,
      ask: (k) => `Who has the ${k}?`,
      answer: (v) => v,
    },
    allowed,
    count,
  );
};

const counting: SceneMaker = (rng, allowed, count) =>
  pair(
    rng,
    {
      kind: "count",
      keys: world.countables,
      values: world.numbers,
      tell: (k, v) => `there were ${v} ${k}.`,
      ask: (k) => `How many ${k} were there?`,
      answer: (v) => v,
    },
    allowed,
    count,
  );

const feeling: SceneMaker = (rng, allowed, count) => {
  const feel = rng.pick(world.feelings);
  return pair(
    rng,
    {
      kind: "reason",
      keys: world.names,
      values: world.reasons,
      tell: (k, v) => `${k} was ${feel} ${v}.`,
      ask: (k) => `Why was ${k} ${feel}?`,
      answer: (v) => v,
    },
    allowed,
    count,
  );
};

const working: SceneMaker = (rng, allowed, count) => {
  const verb = rng.pick(["is a", "works as a", "wants to be a"]);
  return pair(
    rng,
    {
      kind: "job",
      keys: world.names,
      values: world.jobs,
      tell: (k, v) => `${k} ${verb} ${v}.`,
      ask: (k) => `What is ${k}?`,
      answer: (v) => `a ${v}`,
    },
    allowed,
    count,
  );
};

/** Facts that hold in every story, so they may be asked without being told first. */
const nature: SceneMaker = (rng) => {
  const four = several(rng, world.animals, 4);
  const about = rng.pick(["sound", "home", "young"] as const);
  const answerOf = (a: (typeof world.animals)[number]): string =>
    about === "sound" ? a.sound : about === "home" ? `in the ${a.home}` : `a ${a.young}`;
  const choices = four.map((a) => ` ${answerOf(a)}`);
  const ask = (a: (typeof world.animals)[number]): string =>
    about === "sound"
      ? `What does a ${a.kind} say?`
      : about === "home"
        ? `Where does a ${a.kind} live?`
        : `What is the child of a ${a.kind}?`;
  const told = several(rng, four, 2);
  const sentences = told.map((a) =>
    rng.pick([
      `A ${a.kind} says ${a.sound} and lives in the ${a.home}.`,
      `The child of a ${a.kind} is a ${a.young}, and it says ${a.sound}.`,
    ]),
  );
  return { sentences, questions: four.map((a, answer) => ({ kind: "nature", question: ask(a), choices, answer })) };
};

/** Every scene maker with its share of all scenes. */
export const scenes: readonly { readonly make: SceneMaker; readonly weight: number }[] = [
  { make: hidden, weight: 5 },
  { make: wearing, weight: 3 },
  { make: eating, weight: 3 },
  { make: secret, weight: 3 },
  { make: week, weight: 3 },
  { make: giving, weight: 3 },
  { make: counting, weight: 2 },
  { make: feeling, weight: 2 },
  { make: working, weight: 2 },
  { make: nature, weight: 2 },
];

export function drawScene(rng: Rng, allowed: Allowed, count: number): Scene {
  let draw = rng.uniform() * scenes.reduce((n, s) => n + s.weight, 0);
  for (const { make, weight } of scenes) {
    draw -= weight;
    if (draw < 0) return make(rng, allowed, count);
  }
  return hidden(rng, allowed, count);
}
