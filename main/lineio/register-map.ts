import { AppError } from '../contract/errors.ts';

/*
 * What a PLC reads and writes, as one table. The README's table is this one (a test holds them together), and so is what
 * `lineio map` prints. Addresses count from 0 within their area, as on the wire; many PLC tools show them from 1 (00001, 10001,
 * 30001, 40001).
 */

export type Area = 'coil' | 'discrete' | 'holding' | 'input';
export type ValueType = 'bit' | 'u16' | 'i16' | 'u32' | 'ascii16';

export interface SignalRow {
  area: Area;
  /** Default address; a station may lay it elsewhere. */
  address: number;
  type: ValueType;
  meaning: string;
}

const row = (area: Area, address: number, type: ValueType, meaning: string): SignalRow => ({
  area,
  address,
  type,
  meaning,
});

export const registerMap = {
  trigger: row('coil', 0, 'bit', 'rising edge: judge a part now (trigger source line-output)'),
  acknowledge: row('coil', 1, 'bit', 'rising edge: the result was taken; the next comes after the falling edge'),
  resetStatistics: row('coil', 2, 'bit', 'rising edge: the statistics block begins at 0'),

  triggerReady: row('discrete', 0, 'bit', 'a trigger would be accepted now'),
  busy: row('discrete', 1, 'bit', 'a part was accepted and has no result yet'),
  resultReady: row('discrete', 2, 'bit', 'the result below is valid; stays until acknowledged or timed out'),
  ok: row('discrete', 3, 'bit', 'the part is good; never together with ng, unsure or error'),
  ng: row('discrete', 4, 'bit', 'the part is to be rejected; raised with every error, too'),
  unsure: row('discrete', 5, 'bit', 'the model does not know the part; ng is raised too unless unsure is set apart'),
  error: row('discrete', 6, 'bit', 'the part could not be judged; ng is raised too'),
  alarm: row('discrete', 7, 'bit', 'camera, model or disk needs a person'),
  running: row('discrete', 8, 'bit', 'the line is started'),
  heartbeat: row('discrete', 9, 'bit', 'changes twice a second while the line process lives'),
  recipeError: row('discrete', 10, 'bit', 'the requested recipe does not exist'),

  recipeRequest: row('holding', 0, 'u16', 'number of the wanted recipe; 0: as it is'),
  lot: row(
    'holding',
    1,
    'ascii16',
    'lot, up to 16 characters, two per register, first in the high byte; kept with the part',
  ),

  verdict: row('input', 0, 'u16', '0 none, 1 ok, 2 ng, 3 unsure'),
  classCode: row('input', 1, 'i16', 'number of the class; 0: none, -1: no image'),
  errorCode: row('input', 2, 'u16', 'why a part could not be judged (table below); 0: none'),
  partCounter: row('input', 3, 'u32', 'accepted parts; that of the result while result ready is on'),
  heartbeatCounter: row('input', 5, 'u16', 'counts twice a second'),
  recipeActive: row('input', 6, 'u16', 'number of the recipe in use'),
  modelVersion: row('input', 7, 'u32', 'first 32 bits of the SHA-256 of the model id; 0: no model'),

  statTriggers: row('input', 16, 'u32', 'parts accepted'),
  statOk: row('input', 18, 'u32', 'results ok'),
  statNg: row('input', 20, 'u32', 'results ng'),
  statUnsure: row('input', 22, 'u32', 'results unsure, without errors'),
  statErrors: row('input', 24, 'u32', 'results with error'),
  statTriggerErrors: row(
    'input',
    26,
    'u32',
    'triggers refused: busy, result not acknowledged, too soon, bounced, or stopped',
  ),
  statTimeouts: row('input', 28, 'u32', 'results that nobody acknowledged in time'),
  statOverruns: row('input', 30, 'u32', 'results given up because too many waited for acknowledgement'),
  statTimeMin: row('input', 32, 'u32', 'shortest processing time, microseconds'),
  statTimeMax: row('input', 34, 'u32', 'longest processing time, microseconds'),
  statTimeMean: row('input', 36, 'u32', 'mean processing time, microseconds'),
  statRefused: row('input', 38, 'u32', 'requests refused: address, value, function or peer that is not allowed'),
} as const satisfies Record<string, SignalRow>;

export type SignalName = keyof typeof registerMap;
export const signalNames = Object.keys(registerMap) as SignalName[];
/** By name: bits as booleans, registers as numbers, `lot` as text. */
export type SignalValue = boolean | number | string;

/** Why a part could not be judged, as the register `errorCode` tells it. */
export const errorCodes = {
  none: [0, 'no error'],
  late: [1, 'no verdict within the deadline'],
  notJudged: [2, 'the part was not found, or inference failed'],
  noModel: [3, 'no approved model is active'],
  noImage: [4, 'the camera gave no picture (class -1)'],
  stopped: [6, 'the line was stopped before the verdict'],
  badPicture: [8, 'the picture is unfit: dark, saturated, blurred or frozen'],
} as const;
export type ErrorName = keyof typeof errorCodes;

/** Addresses that a value takes up in its area. */
const widthOf = (type: ValueType): number => ({ bit: 1, u16: 1, i16: 1, u32: 2, ascii16: 8 })[type];

export interface Layout {
  /** Where each signal lies at this station. */
  addressOf: Record<SignalName, number>;
  /** Addresses of an area, from 0; what lies between signals reads 0. */
  size: Record<Area, number>;
  /** Addresses that a PLC may write. */
  writable: { coil: ReadonlySet<number>; holding: ReadonlySet<number> };
}

/**
 * Where a PLC that only serves gets the result: behind what it asks for.
 * @throws INVALID_INPUT where the two overlap
 */
export function checkClientPlaces({ size }: Layout, at: { writeCoilsAt: number; writeRegistersAt: number }): void {
  const what = 'the register map';
  if (at.writeCoilsAt < size.coil)
    throw new AppError('INVALID_INPUT', { what, problem: `coil ${at.writeCoilsAt} is read from the PLC, too` });
  if (at.writeRegistersAt < size.holding)
    throw new AppError('INVALID_INPUT', { what, problem: `register ${at.writeRegistersAt} is read from the PLC, too` });
}

/**
 * The map of a station: the table with the station's own addresses.
 * @throws INVALID_INPUT for a signal that does not exist, and for two that overlap
 */
export function layOut(addresses: Readonly<Record<string, number>>): Layout {
  for (const name of Object.keys(addresses))
    if (!Object.hasOwn(registerMap, name))
      throw new AppError('INVALID_INPUT', { what: 'the register map', problem: `there is no signal "${name}"` });
  const addressOf = {} as Record<SignalName, number>;
  const size: Record<Area, number> = { coil: 0, discrete: 0, holding: 0, input: 0 };
  const taken = new Map<string, SignalName>();
  const writable = { coil: new Set<number>(), holding: new Set<number>() };
  for (const name of signalNames) {
    const { area, address, type } = registerMap[name];
    const at = addresses[name] ?? address;
    const end = at + widthOf(type);
    for (let i = at; i < end; i += 1) {
      const other = taken.get(`${area} ${i}`);
      if (other !== undefined)
        throw new AppError('INVALID_INPUT', {
          what: 'the register map',
          problem: `${name} and ${other} both lie at ${area} ${i}`,
        });
      taken.set(`${area} ${i}`, name);
      if (area === 'coil' || area === 'holding') writable[area].add(i);
    }
    addressOf[name] = at;
    size[area] = Math.max(size[area], end);
  }
  return { addressOf, size, writable };
}
