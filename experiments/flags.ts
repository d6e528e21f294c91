/** @file Names of config fields in messages: flags in a terminal, labels in a form. */

export const flagOf = (field: string): string => `--${field.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;

/** The label of a field in a form: `learningRate` as "Learning rate". */
export const fieldTitle = (name: string): string => {
  if (name === "mlp") return "MLP";
  const words = name.replaceAll(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
  return (words.charAt(0).toUpperCase() + words.slice(1)).replace(/\bkl\b/i, "KL");
};

const fieldOf = (flag: string): string => flag.replace(/-([a-z])/g, (_, c: string) => c.toUpperCase());

/** A flag, or a command in backticks, whose flags stay as they are. */
const flagOrCommand = /`[^`]*`|--([a-z]+(?:-[a-z]+)*)/g;

/** The fields that a message names as flags: `--max-bytes` is `maxBytes`. */
export const fieldsIn = (message: string): string[] =>
  [...message.matchAll(flagOrCommand)].flatMap(([, flag]) => (flag === undefined ? [] : [fieldOf(flag)]));

/** A message for people who see a form: the label “Max bytes” for `--max-bytes`. */
export const withoutFlags = (message: string): string =>
  message.replace(flagOrCommand, (whole, flag: string | undefined) =>
    flag === undefined ? whole : `“${fieldTitle(fieldOf(flag))}”`,
  );
