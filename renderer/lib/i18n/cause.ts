import { errorCatalogue, errorText, type ErrorCode, type Language } from '../../../main/contract/errors.ts';

/**
 * Why a part could not be judged, and what to do. Its record has the code alone, so that a text loses the ": {problem}" at its end.
 * @param part its number, as it is shown
 * @returns null: the code is none of the catalogue's, or says nothing without what its record does not have
 */
export function causeOf(
  errorCode: string | null,
  part: string,
  language: Language,
): ReturnType<typeof errorText> | null {
  if (errorCode === null || !Object.hasOwn(errorCatalogue, errorCode)) return null;
  const { message, nextAction } = errorText(errorCode as ErrorCode, { part }, language);
  const cause = { message: message.replace(': {problem}', ''), nextAction };
  return /\{\w+\}/u.test(cause.message + cause.nextAction) ? null : cause;
}
