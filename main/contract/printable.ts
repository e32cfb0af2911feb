/**
 * Text that others wrote (names of files on a stick, answers of registries, what a bundle says of itself), for a terminal: what would move its cursor, rename its window or hide a line
 * is written as an escape, which is the same text in JSON too.
 */
export const printable = (text: string): string => text.replace(/[^\P{Cc}\n\t]/gu, escapeOf);

/** In one line: no second one can be put in as if the program had said it. */
export const printableLine = (text: string): string => text.replace(/\p{Cc}/gu, escapeOf);

const escapeOf = (sign: string): string => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`;
