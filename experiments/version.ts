/** @file The version of Espalier, as runs, cards and reports state it; that of package.json. */
export const version = "0.1.0";
