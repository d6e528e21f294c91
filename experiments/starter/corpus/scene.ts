/**
 * @file Scenes: a few sentences about several people or things of one kind, and the questions they answer.
 *
 * In each sentence the value follows its key at once, as in "Anna danced": the copying a small decoder learns first.
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

const doing = simple((rng) => {
  const when = rng.pick(["in the morning", "all day", "after tea", "by the fire", "with a smile"]);
  return {
    kind: "deed",
    keys: world.names,
    values: world.deeds,
    sentence: (k) => [k, ` ${when}.`],
    ask: (k) => `What did ${k} do?`,
  };
});

const colouring = simple((rng) => {
  const where = rng.pick(["in the window", "on the table", "in the shop", "at the fair", "under the tree"]);
  return {
    kind: "colour",
    keys: world.colours,
    values: world.things,
    sentence: (k) => [`${where} there was a ${k}`, "."],
    ask: (k) => `What was ${k}?`,
  };
});

const giving = simple((rng) => {
  const giver = rng.pick(["Grandmother", "Grandfather", "the king", "the postman"]);
  return {
    kind: "gift",
    keys: world.names,
    values: world.foods,
    sentence: (k) => [`${giver} gave ${k}`, "."],
    ask: (k) => `What did ${k} get?`,
  };
});

const naming = simple(() => ({
  kind: "pet",
  keys: world.pets,
  values: world.petNames,
  sentence: (k) => [`they called the ${k}`, "."],
  ask: (k) => `What is the name of the ${k}?`,
}));

const family = simple((rng) => {
  const said = rng.pick(["my name is", "this is", "here comes", "people know"]);
  return {
    kind: "surname",
    keys: world.names,
    values: world.surnames,
    sentence: (k) => [`${said} ${k}`, "."],
    ask: (k) => `What is the full name of ${k}?`,
  };
});

const visiting = simple((rng) => {
  const came = rng.pick(["came to visit", "cleaned the house", "told a story", "went to the market"]);
  return {
    kind: "day",
    keys: world.days,
    values: world.names,
    sentence: (k) => [`on ${k}`, ` ${came}.`],
    ask: (k) => `Who ${came} on ${k}?`,
  };
});

const waiting = simple((rng) => {
  const did = rng.pick(["was waiting", "was hiding", "found a coin", "sat and read"]);
  return {
    kind: "place",
    keys: world.places,
    values: world.names,
    sentence: (k) => [k, ` ${did}.`],
    ask: (k) => `Who ${did} ${k}?`,
  };
});

const counting = simple((rng) => {
  const saw = rng.pick(["we saw", "there were", "she drew", "he counted"]);
  return {
    kind: "count",
    keys: world.numbers,
    values: world.countables,
    sentence: (k) => [`${saw} ${k}`, "."],
    ask: (k) => `Of what were there ${k}?`,
  };
});

const language = simple(() => ({
  kind: "secret",
  keys: world.things,
  values: world.secrets,
  sentence: (k) => [`in their secret language they called a ${k}`, "."],
  ask: (k) => `What was their word for a ${k}?`,
}));

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
  { make: doing, weight: 3 },
  { make: colouring, weight: 3 },
  { make: giving, weight: 3 },
  { make: naming, weight: 2 },
  { make: family, weight: 2 },
  { make: visiting, weight: 3 },
  { make: waiting, weight: 3 },
  { make: counting, weight: 2 },
  { make: language, weight: 2 },
  { make: nature, weight: 2 },
];

export function drawScene(rng: Rng, allowed: Allowed, count: number): Scene {
  let draw = rng.uniform() * scenes.reduce((n, s) => n + s.weight, 0);
  for (const { make, weight } of scenes) {
    draw -= weight;
    if (draw < 0) return make(rng, allowed, count);
  }
  return doing(rng, allowed, count);
}
