/** @file Facts that hold in every story of this world: the model learns them once and is asked
 * without a passage. */
import type { Rng } from "../../../lib/random.ts";
import { type Question, question, several } from "./question.ts";
import type { Passage } from "./story.ts";
import * as world from "./world.ts";

type Animal = (typeof world.animals)[number];

const about: readonly { readonly tell: (a: Animal) => string; readonly ask: (rng: Rng, a: Animal) => Question }[] = [
  {
    tell: (a) => `A ${a.kind} says ${a.sound}.`,
    ask: (rng, a) =>
      question(
        rng,
        "sound",
        `What does a ${a.kind} say?`,
        a.sound,
        world.animals.map((b) => b.sound),
      ),
  },
  {
    tell: (a) => `The ${a.home} is the home of the ${a.kind}.`,
    ask: (rng, a) =>
      question(
        rng,
        "home",
        `Where does a ${a.kind} live?`,
        a.home,
        world.animals.map((b) => b.home),
        (h) => `in the ${h}`,
      ),
  },
  {
    tell: (a) => `The child of a ${a.kind} is a ${a.young}.`,
    ask: (rng, a) =>
      question(
        rng,
        "young",
        `What is the child of a ${a.kind}?`,
        a.young,
        world.animals.map((b) => b.young),
        (y) => `a ${y}`,
      ),
  },
];

/** Some facts about animals and opposites, and questions about others. */
export function facts(rng: Rng): Passage {
  const sentences = several(rng, world.animals, 3).map((a) => rng.pick(about).tell(a));
  const [left, right] = rng.pick(world.opposites);
  sentences.push(`The opposite of ${left} is ${right}.`);
  const questions = several(rng, world.animals, 3).map((a) => rng.pick(about).ask(rng, a));
  const [asked, answer] = rng.pick(world.opposites);
  questions.push(
    question(
      rng,
      "opposite",
      `What is the opposite of ${asked}?`,
      answer,
      world.opposites.map((o) => o[1]),
    ),
  );
  const next = rng.integer(world.days.length);
  questions.push(
    question(
      rng,
      "order",
      `What day comes after ${world.days[next]}?`,
      world.days[(next + 1) % world.days.length] ?? "",
      world.days,
    ),
  );
  return { text: rng.shuffle(sentences).join(" "), questions };
}
