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
  /** The answer is a whole sentence; this is where it begins, up to what is asked for. */
  readonly opening: string;
  /** What may come next, each with a leading space. */
  readonly choices: readonly string[];
  readonly answer: number;
  /** The rest of the sentence after the choice. */
  readonly ending: string;
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
  /** The sentence around the value: what comes before it and after it. */
  readonly sentence: (key: string) => readonly [before: string, after: string];
  readonly ask: (key: string) => string;
}

/** `count` keys with as many values; tries again until every pair is allowed. */
function pair(rng: Rng, p: Pairing, allowed: Allowed, count: number): Scene {
  let keys: string[];
  let values: string[];
  do {
    keys = several(rng, p.keys, count);
    values = several(rng, p.values, count);
  } while (!keys.every((k, i) => allowed(p.kind, k, values[i] ?? "")));
  const choices = values.map((v) => ` ${v}`);
  const questions = keys.map((key, answer) => {
    const [before, after] = p.sentence(key);
    return { kind: p.kind, question: p.ask(key), opening: upper(before), choices, answer, ending: after };
  });
  return { sentences: questions.map(told), questions };
}

/** The whole sentence that answers a question. */
export const told = (q: Question): string => `${q.opening}${q.choices[q.answer]}${q.ending}`;

type SceneMaker = (rng: Rng, allowed: Allowed, count: number) => Scene;

/** A scene whose keys and values are drawn as they are. */
const simple =
  (p: (rng: Rng) => Pairing): SceneMaker =>
  (rng, allowed, count) =>
    pair(rng, p(rng), allowed, count);

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
      sentence: (k) => [`${name(k)} ${verb} the ${thing(k)}`, "."],
      ask: (k) => `Where is the ${thing(k)}?`,
    },
    (kind, k, v) => allowed(kind, name(k), v),
    count,
  );
};

const wearing = simple((rng) => {
  const thing = rng.pick(["hat", "scarf", "coat", "boat", "kite", "bag", "lamp", "cup"]);
  return {
    kind: "colour",
    keys: world.names,
    values: world.colours,
    sentence: (k) => [`${k} had a`, ` ${thing}.`],
    ask: (k) => `What colour was the ${thing} of ${k}?`,
  };
});

const eating = simple((rng) => {
  const like = rng.pick(["likes to eat", "always asks for", "dreams of"]);
  return {
    kind: "food",
    keys: world.pets,
    values: world.foods,
    sentence: (k) => [`the ${k} ${like}`, "."],
    ask: (k) => `What does the ${k} like?`,
  };
});

const secret = simple((rng) => {
  const say = rng.pick(["the secret word of # is", "# wrote down the word", "# whispered the word"]);
  return {
    kind: "secret",
    keys: world.names,
    values: world.secrets,
    sentence: (k) => [say.replace("#", k), "."],
    ask: (k) => `What is the secret word of ${k}?`,
  };
});

const week = simple((rng) => {
  const who = rng.pick(["the children", "the two friends", "the class", "the whole family"]);
  return {
    kind: "day",
    keys: world.days,
    values: world.trips,
    sentence: (k) => [`on ${k} ${who} went to the`, "."],
    ask: (k) => `Where did they go on ${k}?`,
  };
});

const giving = simple((rng) => {
  const giver = rng.pick(["Grandmother", "Grandfather", "The king", "The postman"]);
  return {
    kind: "gift",
    keys: world.things,
    values: world.names,
    sentence: (k) => [`${giver} gave the ${k} to`, "."],
    ask: (k) => `Who has the ${k}?`,
  };
});

const counting = simple(() => ({
  kind: "count",
  keys: world.countables,
  values: world.numbers,
  sentence: (k) => [`the number of ${k} was`, "."],
  ask: (k) => `How many ${k} were there?`,
}));

const feeling = simple((rng) => {
  const feel = rng.pick(world.feelings);
  return {
    kind: "reason",
    keys: world.names,
    values: world.reasons,
    sentence: (k) => [`${k} was ${feel}`, "."],
    ask: (k) => `Why was ${k} ${feel}?`,
  };
});

const working = simple((rng) => {
  const verb = rng.pick(["is a", "works as a", "wants to be a"]);
  return {
    kind: "job",
    keys: world.names,
    values: world.jobs,
    sentence: (k) => [`${k} ${verb}`, "."],
    ask: (k) => `What is ${k}?`,
  };
});

/** Facts that hold in every story, so they may be asked without being told first. */
const nature: SceneMaker = (rng) => {
  const four = several(rng, world.animals, 4);
  const about = rng.pick(["sound", "home", "young"] as const);
  const choices = four.map((a) => ` ${a[about]}`);
  const questions = four.map((a, answer): Question => {
    const common = { kind: "nature", choices, answer, ending: "." };
    if (about === "sound") return { ...common, question: `What does a ${a.kind} say?`, opening: `A ${a.kind} says` };
    if (about === "home")
      return { ...common, question: `Where does a ${a.kind} live?`, opening: `A ${a.kind} lives in the` };
    return { ...common, question: `What is the child of a ${a.kind}?`, opening: `The child of a ${a.kind} is a` };
  });
  const sentences = several(rng, four, 2).map((a) =>
    rng.pick([
      `A ${a.kind} says ${a.sound} and lives in the ${a.home}.`,
      `The child of a ${a.kind} is a ${a.young}, and it says ${a.sound}.`,
    ]),
  );
  return { sentences, questions };
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
