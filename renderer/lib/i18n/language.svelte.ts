import { isAppError, errorText, problemOf, type Language } from '../../../main/contract/errors.ts';
import { detailsIn } from './details.ts';
import type { MessageKey, Messages } from './en.ts';
import { en } from './en.ts';
import { evidenceIn } from './evidence.ts';
import { fill, type Names, type Values } from './fill.ts';
import { ja } from './ja.ts';
import { noteIn } from './notes.ts';

type Arguments<K extends MessageKey> = [Names<Messages[K]>] extends [never]
  ? []
  : [values: Record<Names<Messages[K]>, string | number>];

let current = $state<Language>('en');

/** The language of the window; read inside a component it makes the text follow a switch at run time. */
export const language = {
  get now(): Language {
    return current;
  },
  set now(next: Language) {
    current = next;
    document.documentElement.lang = next;
  },
  get locale(): string {
    return current === 'ja' ? 'ja-JP' : 'en-GB';
  },
};

export function t<K extends MessageKey>(key: K, ...[values]: Arguments<K>): string {
  const text: string = (current === 'ja' ? ja : en)[key];
  return values === undefined ? text : fill(text, values as Values, language.locale);
}

/** For keys that come from the core (a step, a gate): its own text where there is one, else what the core said. */
export function tOr(key: string, fallback: string, values: Values = {}): string {
  if (!Object.hasOwn(en, key)) return fallback;
  return fill((current === 'ja' ? ja : en)[key as MessageKey], values, language.locale);
}

/** A sentence of a model's evidence. */
export const tEvidence = (text: string): string => evidenceIn(current, text);
/** A note of a part. */
export const tNote = (note: string): string => noteIn(current, note);

export interface ProblemText {
  message: string;
  nextAction: string;
}

/** What an error says in the window's language, and what to do next. */
export function problemText(error: unknown): ProblemText {
  if (isAppError(error)) return errorText(error.code, detailsIn(current, error.details), current);
  return { message: problemOf(error), nextAction: '' };
}
