/** @file What a drawing shows and its table and labels say already: kept from assistive technology. */
export const decorative = { "aria-hidden": true } as const;
