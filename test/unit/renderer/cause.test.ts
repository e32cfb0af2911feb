import { describe, expect, it } from 'vitest';
import { causeOf } from '../../../renderer/lib/i18n/cause.ts';

describe('why a part could not be judged', () => {
  /** What main/inspection and main/host/line write into a record. */
  const codes = [
    'PICTURE_DARK',
    'PICTURE_SATURATED',
    'PICTURE_BLURRED',
    'PICTURE_FROZEN',
    'PART_NOT_FOUND',
    'INFERENCE_FAILED',
    'CAMERA_NO_FRAME',
  ];
  it.each(codes)('is said of %s in both languages, with what to do', (code) => {
    for (const language of ['en', 'ja'] as const) {
      const cause = causeOf(code, '16,904', language)!;
      for (const text of [cause.message, cause.nextAction]) expect(text).toMatch(/^[^{}:]+[.。]$/u);
    }
  });

  it('names the part where the text does', () => {
    expect(causeOf('INFERENCE_FAILED', '16,904', 'en')?.message).toBe('The model failed on part 16,904.');
    expect(causeOf('PART_NOT_FOUND', '7', 'ja')?.message).toBe('画像の中に部品が見つかりません。');
  });

  it('is left to the verdict where the record does not tell enough', () => {
    for (const code of [null, 'SAID_LATER', 'toString', 'IMAGE_UNREADABLE'])
      expect(causeOf(code, '7', 'en')).toBeNull();
  });
});
