import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpressionError, parseExpression } from '../../../main/capture/gige/genicam/expression.ts';

const none = (name: string): never => {
  throw new ExpressionError(`no ${name}`);
};
const whole = (text: string) => parseExpression(text).integer(none);
const float = (text: string) => parseExpression(text).float(none);

describe('formulas of a camera', () => {
  it('follow the precedence of the standard', () => {
    expect(whole('1 + 2 * 3')).toBe(7n);
    expect(whole('(0xFF & 0x0F) << 4 | 1')).toBe(0xf1n);
    expect(whole('7 = 7 ? 10 : 20')).toBe(10n);
    expect(whole('1 <> 2 && 3 >= 3')).toBe(1n);
    expect(float('2 ** 3 ** 2')).toBe(512);
    expect(float('-2 ** 2')).toBe(-4);
    expect(float('ROUND(2.345, 2) + TRUNC(1.9) + SGN(-4)')).toBeCloseTo(2.35, 9);
    expect(float('PI')).toBe(Math.PI);
  });
  it('are int64 or double as the node is', () => {
    expect(whole('7 / 2')).toBe(3n);
    expect(float('7 / 2')).toBe(3.5);
    expect(whole('0x7FFFFFFFFFFFFFFF + 1')).toBe(-(2n ** 63n));
    expect(whole('~0')).toBe(-1n);
  });
  it('read names with dots, and only the branch that counts', () => {
    const expression = parseExpression('A.Max > 5 ? A.Max : B');
    expect(expression.integer((name) => (name === 'A.Max' ? 9n : none(name)))).toBe(9n);
  });
  it('fail in words', () => {
    for (const text of ['1 / 0', '1 % 0', 'X']) expect(() => whole(text)).toThrow(ExpressionError);
    for (const text of ['', '1 +', '(1', 'foo(1)', '1 2', 'ROUND()', '"a"', '('.repeat(5000), '-'.repeat(5000) + '1']) {
      expect(() => parseExpression(text)).toThrow(ExpressionError);
    }
  });
  it('never fail otherwise, whatever is written', () => {
    const piece = fc.constantFrom(
      '1',
      'X',
      '(',
      ')',
      '+',
      '-',
      '*',
      '**',
      '/',
      '?',
      ':',
      '<<',
      '>=',
      '&&',
      'SIN(',
      ',',
      '~',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        try {
          const expression = parseExpression(pieces.join(' '));
          expression.integer(() => 3n);
          expression.float(() => 3);
        } catch (error) {
          expect(error).toBeInstanceOf(ExpressionError);
        }
      }),
    );
  });
});
