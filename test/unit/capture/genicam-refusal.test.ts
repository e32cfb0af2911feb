import { expect, it } from 'vitest';
import { GvcpError, GvcpTimeout } from '../../../main/capture/gige/control-channel.ts';
import { createNodeMap, FeatureError } from '../../../main/capture/gige/genicam/node-map.ts';
import { status } from '../../../main/capture/gige/gvcp.ts';

/** One word of memory per address; what `refuse` throws for is neither read nor written. */
function mapOf(nodes: string, refuse: (address: number, what: 'read' | 'write') => Error | null) {
  const words = new Map<number, Uint8Array>();
  const ask = (address: number, what: 'read' | 'write') => {
    const error = refuse(address, what);
    if (error) throw error;
  };
  const map = createNodeMap(`<RegisterDescription>${nodes}</RegisterDescription>`, {
    async read(address, length) {
      ask(address, 'read');
      return words.get(address) ?? new Uint8Array(length);
    },
    async write(address, bytes) {
      ask(address, 'write');
      words.set(address, bytes);
    },
  });
  return { map, words };
}
const register = (name: string, address: number, access = 'RW') =>
  `<IntReg Name="${name}"><Address>${address}</Address><Length>4</Length><AccessMode>${access}</AccessMode></IntReg>`;
const refusal = new GvcpError('register', status.writeProtect);

it('what a camera refuses is the failure of that feature; where it does not answer, or another has it, it is not', async () => {
  let error: Error = refusal;
  const { map } = mapOf(
    `<Integer Name="Gain"><pValue>GainReg</pValue></Integer>${register('GainReg', 8)}` +
      `<Command Name="Stop"><pValue>StopReg</pValue><CommandValue>1</CommandValue></Command>${register('StopReg', 8)}`,
    (address) => (address === 8 ? error : null),
  );
  const refused = /GainReg is refused.*WRITE_PROTECT/;
  await expect(map.set('Gain', 3)).rejects.toThrow(refused);
  await expect(map.set('Gain', 3)).rejects.toThrow(FeatureError);
  await expect(map.integer('Gain')).rejects.toThrow(refused);
  await expect(map.execute('Stop')).rejects.toThrow(FeatureError);
  // Beside the others, in a list of all.
  expect(await map.describe('Gain')).toMatchObject({ value: null, access: 'RW', max: 2 ** 32 - 1 });
  for (error of [new GvcpTimeout('no answer'), new GvcpError('another has it', status.accessDenied)]) {
    await expect(map.set('Gain', 3)).rejects.toBe(error);
    await expect(map.describe('Gain')).rejects.toBe(error);
  }
});

it('bits of a register that can only be written are written without being read', async () => {
  const { map, words } = mapOf(
    '<Command Name="Trigger"><pValue>Bit</pValue><CommandValue>1</CommandValue></Command>' +
      '<MaskedIntReg Name="Bit"><Address>4</Address><Length>4</Length><AccessMode>WO</AccessMode><Bit>3</Bit></MaskedIntReg>',
    (_, what) => (what === 'read' ? refusal : null),
  );
  await map.execute('Trigger');
  expect([...words.get(4)!]).toEqual([8, 0, 0, 0]);
});

it('a feature whose formula has no value where its register is 0 can be set', async () => {
  const { map, words } = mapOf(
    '<Float Name="Rate"><pValue>RateConverter</pValue></Float>' +
      '<Converter Name="RateConverter"><FormulaTo>1000000/FROM</FormulaTo><FormulaFrom>1000000/TO</FormulaFrom>' +
      `<pValue>PeriodReg</pValue></Converter>${register('PeriodReg', 4)}`,
    () => null,
  );
  await map.set('Rate', 25);
  expect(Buffer.from(words.get(4)!).readUInt32LE()).toBe(40_000);
  expect(await map.describe('Rate')).toMatchObject({ value: 25, min: null, max: null });
  await expect(map.set('Rate', 0)).rejects.toThrow(/division by zero/);
});
