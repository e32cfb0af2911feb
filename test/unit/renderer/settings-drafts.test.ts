import { describe, expect, it } from 'vitest';
import { regionSchema } from '../../../main/contract/domain.ts';
import { lineDraftOf, lineInput } from '../../../renderer/features/settings/line-draft.ts';
import { regionOf, regionsOf, regionsText } from '../../../renderer/features/settings/recipe-draft.ts';

describe('a region as it is typed', () => {
  it('is four numbers, between commas, spaces or what a Japanese keyboard has for them', () => {
    const region = { x: 10, y: 20, width: 300, height: 40.5 };
    for (const line of ['10, 20, 300, 40.5', '10 20  300 40.5', '10、２０，300　40.5', ' 10 , 20,300、40.5 '])
      expect(regionOf(line)).toEqual(region);
  });

  it('is refused with a fifth number, a missing one or an empty place, and stays in the text', () => {
    const wrong = ['1, 2, 3, 4, 5', '1, 2, 3', '1, , 3, 4', '1, 2, 3, 4,', '1, 2, 3, x'];
    for (const line of wrong) expect(regionSchema.safeParse(regionOf(line)).success).toBe(false);
    expect(regionsOf(wrong.join('\n'))).toEqual([]);
    expect(regionsText([], wrong.join('\n'))).toBe(wrong.join('\n'));
  });
});

it('addresses that may connect are read in whole widths too', () => {
  const draft = {
    ...lineDraftOf(null),
    output: 'modbus-server' as const,
    peers: '192.168.1.20、１９２．１６８．１．２１，::1',
  };
  expect(lineInput(draft, null).lineOutput).toMatchObject({ peers: ['192.168.1.20', '192.168.1.21', '::1'] });
});
