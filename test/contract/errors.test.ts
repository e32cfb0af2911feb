import { describe, expect, it } from 'vitest';
import { AppError, errorCatalogue, type ErrorCode } from '../../main/contract/errors.ts';

const namesIn = (texts: readonly string[]) =>
  [...new Set(texts.flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)))].toSorted();

describe('the catalogue of expected failures', () => {
  it.each(Object.keys(errorCatalogue) as ErrorCode[])(
    '%s names nothing in Japanese that it does not in English',
    (code) => {
      const { en, ja } = errorCatalogue[code];
      // What the English text names is what the compiler asks for.
      expect(namesIn(en)).toEqual(expect.arrayContaining(namesIn(ja)));
    },
  );

  it('asks of nobody what only the window has, or only a checkout', () => {
    const texts = Object.values(errorCatalogue).flatMap(({ en, ja }) => [en[1], ja[1]]);
    expect(texts.filter((text) => /\bnpm\b/.test(text) && !/checkout|チェックアウト/.test(text))).toEqual([]);
    expect(texts.filter((text) => /refresh the view|画面を更新/i.test(text))).toEqual([]);
  });

  it('is thrown with all that its text names', () => {
    // @ts-expect-error: {home} and {problem} would be shown as they stand.
    expect(new AppError('HOME_NOT_WRITABLE', { path: '/home' }).message).toContain('{home}');
    // @ts-expect-error: as {stationId} would be.
    expect(new AppError('NO_KNOWLEDGE').message).toContain('{stationId}');
    expect(new AppError('CANCELLED').message).toBe('Cancelled.');
  });
});
