/** @file Fields of a config in messages: written as flags, found again for forms. */

export const flagOf = (field: string): string => `--${field.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;

/** The fields a message speaks of as flags: `--max-bytes` is `maxBytes`. */
export const fieldsIn = (message: string): string[] =>
  [...message.matchAll(/--([a-z]+(?:-[a-z]+)*)/g)].map(([, flag = ""]) =>
    flag.replace(/-([a-z])/g, (_, c: string) => c.toUpperCase()),
  );

/** A message for people who see a form and no command line: `max bytes` for `--max-bytes`. */
export const withoutFlags = (message: string): string =>
  message.replace(/--([a-z]+(?:-[a-z]+)*)/g, (_, flag: string) => flag.replaceAll("-", " "));
