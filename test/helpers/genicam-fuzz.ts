import { createRandom } from '../../main/capture/simulated/random.ts';
import { createNodeMap, FeatureError, type NodeMap, type Port } from '../../main/capture/gige/genicam/node-map.ts';
import { DescriptionError } from '../../main/capture/gige/genicam/xml.ts';
import { describeCamera } from '../../main/capture/gige/simulator/description.ts';

/*
 * Descriptions that no camera should have: the simulated camera's own with pieces cut out, doubled and exchanged, and graphs of
 * nodes that refer to each other at random (in circles, to nothing, to the wrong kind). Deterministic from a seed.
 */

const kinds = [
  'Integer',
  'IntReg',
  'MaskedIntReg',
  'IntSwissKnife',
  'IntConverter',
  'Float',
  'FloatReg',
  'SwissKnife',
  'Converter',
  'Enumeration',
  'Boolean',
  'Command',
  'String',
  'StringReg',
  'Register',
  'Category',
] as const;
const references = (
  'pValue pValue pAddress pIndex pLength pMin pMax pInc pIsAvailable pIsLocked pIsImplemented ' +
  'pValueDefault pEnumEntry pFeature pCommandValue pValueCopy pPort'
).split(' ');
const literals = (
  'Value Address Length Min Max Inc LSB MSB Bit OnValue OffValue CommandValue AccessMode ' +
  'ImposedAccessMode Sign Endianess Cachable PollingTime Unit ChunkID Symbolic'
).split(' ');
const texts = [
  '0',
  '1',
  '-1',
  '4',
  '8',
  '31',
  '0x10',
  '0xFFFFFFFFFFFFFFFF',
  '1e308',
  '-1e308',
  '1e999',
  'NaN',
  '',
  ' ',
  'abc',
  'Signed',
  'BigEndian',
  'NoCache',
  'RO',
  'WO',
  'RW',
  'NI',
  'true',
  '4294967296',
  '99999999999999999999',
  '0.5',
];
const formulas = [
  'A',
  'A + B',
  'A / B',
  'A % B',
  'A << B',
  'A ? B : A',
  'TO',
  'FROM * 2',
  'FROM / 0',
  'EXP(1000)',
  'LN(0)',
  'A ** B',
  '(',
  'A +',
  'SQRT(0 - 1)',
  '1 / 0',
  '0xFFFFFFFFFFFFFFFF + 1',
  'ROUND(A, B)',
  '~A',
  'UNKNOWN(A)',
  'E',
  'A && B',
];

export interface DescriptionFuzzCounts {
  descriptions: number;
  refused: number;
  features: number;
  failures: number;
  values: number;
}

export function createDescriptionFuzz(seed: number) {
  const random = createRandom(seed);
  const base = describeCamera({ manufacturer: 'M', model: 'F' });
  const counts: DescriptionFuzzCounts = { descriptions: 0, refused: 0, features: 0, failures: 0, values: 0 };
  const pick = <T>(items: readonly T[]): T => items[random.whole(0, items.length - 1)]!;

  const graph = (): string => {
    const size = random.whole(1, 40);
    const name = () => `N${random.whole(0, size + 1)}`;
    const node = (i: number) => {
      const parts: string[] = [];
      for (let n = random.whole(0, 3); n > 0; n -= 1) parts.push(`<${pick(references)}>${name()}</${'#'}>`);
      for (let n = random.whole(0, 5); n > 0; n -= 1) parts.push(`<${pick(literals)}>${pick(texts)}</${'#'}>`);
      for (const variable of ['A', 'B', 'C']) {
        if (random.chance(0.5)) parts.push(`<pVariable Name="${variable}">${name()}</pVariable>`);
      }
      for (const formula of ['Formula', 'FormulaTo', 'FormulaFrom']) {
        if (random.chance(0.6))
          parts.push(
            `<${formula}>${pick(formulas).replace(/[&<]/g, (c) => (c === '&' ? '&amp;' : '&lt;'))}</${formula}>`,
          );
      }
      if (random.chance(0.3)) parts.push(`<EnumEntry Name="E${i}"><Value>${pick(texts)}</Value></EnumEntry>`);
      if (random.chance(0.2)) parts.push(`<pValueIndexed Index="${pick(texts)}">${name()}</pValueIndexed>`);
      if (random.chance(0.2)) parts.push(`<Expression Name="C">A + C</Expression>`);
      const body = parts.map((part) => part.replace(/^<(\w+)(.*)<\/#>$/s, '<$1$2</$1>')).join('');
      const kind = pick(kinds);
      return `<${kind} Name="N${i}">${body}</${kind}>`;
    };
    const nodes = Array.from({ length: size }, (_, i) => node(i));
    const root = Array.from({ length: size }, (_, i) => `<pFeature>N${i}</pFeature>`).join('');
    return `<RegisterDescription><Category Name="Root">${root}</Category>${nodes.join('')}</RegisterDescription>`;
  };
  const names = [...base.matchAll(/Name="(\w+)"/g)].map((match) => match[1]!);
  /** The real one, damaged. */
  const damaged = (): string => {
    let text = base;
    for (let times = random.whole(1, 6); times > 0; times -= 1) {
      const at = random.whole(0, text.length);
      const to = Math.min(text.length, at + random.whole(1, 60));
      const kind = random.whole(0, 4);
      if (kind === 0) text = text.slice(0, at) + text.slice(to);
      else if (kind === 1) text = text.slice(0, at) + pick(texts) + text.slice(at);
      else if (kind === 2) text = text.slice(0, to) + text.slice(at);
      else if (kind === 3) text = text.replace(`>${pick(names)}<`, `>${pick(names)}<`);
      else text = text.replace(`<Value>${random.whole(0, 1)}</Value>`, `<Value>${pick(texts)}</Value>`);
    }
    return text;
  };
  const port: Port = {
    async read(_, length) {
      return Uint8Array.from({ length }, () => random.whole(0, 255));
    },
    async write() {},
  };
  /** What a description may fail with. Anything else is a fault of the reader, and is thrown on. */
  const tried = async (run: () => Promise<unknown>): Promise<void> => {
    try {
      await run();
      counts.values += 1;
    } catch (error) {
      if (!(error instanceof FeatureError)) throw error;
      counts.failures += 1;
    }
  };
  const use = async (map: NodeMap): Promise<void> => {
    for (const { name } of map.features()) {
      counts.features += 1;
      await map.describe(name);
      await tried(() => map.integer(name));
      await tried(() => map.float(name));
      await tried(() => map.text(name));
      await tried(() => map.range(name));
      await tried(() => map.set(name, pick([0, 1, -1, 1e308, 2 ** 53, 0.5, 'On', 'E1', 'x', '', true])));
      await tried(() => map.execute(name));
    }
  };
  return {
    counts: counts as Readonly<DescriptionFuzzCounts>,
    async next(): Promise<void> {
      counts.descriptions += 1;
      let map: NodeMap;
      const xml = random.chance(0.5) ? graph() : damaged();
      try {
        map = createNodeMap(xml, port);
      } catch (error) {
        if (!(error instanceof DescriptionError)) throw error;
        counts.refused += 1;
        return;
      }
      await use(map);
    },
  };
}
