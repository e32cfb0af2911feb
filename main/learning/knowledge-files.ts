import { readFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { AppError, problemOf } from '../contract/errors.ts';
import { writeDurably } from '../store/files.ts';
import { matrix, type Matrix } from './dense.ts';
import type { SolvedKnowledge } from './knowledge.ts';

/*
 * A knowledge folder: knowledge.json (numbers and names) and head.f64 (all arrays, little-endian float64, in the order that the
 * JSON lists). Each file is written beside its place, synced and renamed; knowledge.json comes last and names the hash of head.f64,
 * so a folder with a knowledge.json is whole.
 */

const arraySchema = z.object({ name: z.string(), rows: z.number().int().min(0), columns: z.number().int().min(0) });
const fileSchema = z.object({
  /** 2: novelty has a scale. */
  format: z.literal(2),
  backboneId: z.string(),
  backboneSha256: z.string(),
  inputSize: z.number().int(),
  stages: z.array(z.number().int().positive()).min(1),
  classes: z.array(z.object({ classId: z.string(), labelled: z.number().int() })).min(1),
  lambda: z.number(),
  balancing: z.number(),
  temperature: z.number().positive(),
  thresholds: z.object({ ok: z.number(), ng: z.number(), novelty: z.number() }),
  /** Not in files written before limits told their rate; those were drawn too low where parts are few, and the next update draws them anew. */
  noveltyRate: z.number().nullable().default(null),
  balancedAccuracy: z.number().nullable(),
  residual: z.number(),
  noveltyScale: z.object({
    constant: z.number(),
    factors: z.object({ relative: z.number(), cosine: z.number(), outside: z.number(), doubt: z.number() }),
  }),
  arrays: z.array(arraySchema),
  headSha256: z.string(),
});

export interface StoredKnowledge {
  knowledge: SolvedKnowledge;
  backboneId: string;
  backboneSha256: string;
  inputSize: number;
}

const rowOf = (values: Float64Array): Matrix => matrix(1, values.length, values);

const arraysOf = ({ weights, novelty }: SolvedKnowledge): [string, Matrix][] => [
  ['weights', weights],
  ['mean', rowOf(novelty.mean)],
  ['directions', novelty.directions],
  ['variance', rowOf(novelty.variance)],
  ['precision', rowOf(novelty.precision)],
  ['whitening', novelty.whitening],
  ['centres', novelty.centres],
];

/** @throws DISK_FULL, HOME_NOT_WRITABLE */
export async function writeKnowledge(dir: string, stored: StoredKnowledge): Promise<void> {
  const { knowledge, backboneId, backboneSha256, inputSize } = stored;
  const arrays = arraysOf(knowledge);
  const head = Buffer.concat(arrays.map(([, { data }]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
  const { stages, classes, lambda, balancing, temperature, thresholds, noveltyRate, balancedAccuracy, novelty } =
    knowledge;
  const description: z.infer<typeof fileSchema> = {
    format: 2,
    backboneId,
    backboneSha256,
    inputSize,
    stages,
    classes,
    lambda,
    balancing,
    temperature,
    thresholds,
    noveltyRate,
    balancedAccuracy,
    residual: novelty.residual,
    noveltyScale: novelty.scale,
    arrays: arrays.map(([name, { rows, columns }]) => ({ name, rows, columns })),
    headSha256: createHash('sha256').update(head).digest('hex'),
  };
  await writeDurably(path.join(dir, 'head.f64'), head);
  await writeDurably(path.join(dir, 'knowledge.json'), `${JSON.stringify(description, null, 1)}\n`);
}

/** @throws NOT_FOUND, KNOWLEDGE_UNREADABLE, BUNDLE_ALTERED when the two files do not belong together */
export async function readKnowledge(dir: string): Promise<StoredKnowledge> {
  let description: z.infer<typeof fileSchema>;
  let head: Buffer;
  try {
    description = fileSchema.parse(JSON.parse(await readFile(path.join(dir, 'knowledge.json'), 'utf8')));
    head = await readFile(path.join(dir, 'head.f64'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new AppError('NOT_FOUND', { kind: 'knowledge', id: `${dir} (${problemOf(cause)})` }, { cause });
    }
    throw new AppError('KNOWLEDGE_UNREADABLE', { file: dir, problem: problemOf(cause).split('\n')[0]! }, { cause });
  }
  const altered = () => new AppError('BUNDLE_ALTERED', { file: path.join(dir, 'head.f64') });
  if (createHash('sha256').update(head).digest('hex') !== description.headSha256) throw altered();
  const {
    arrays,
    format: _format,
    headSha256: _sha,
    backboneId,
    backboneSha256,
    inputSize,
    residual,
    noveltyScale,
    ...rest
  } = description;
  // Copied: a pooled buffer need not be aligned to eight bytes.
  const numbers = new Float64Array(new Uint8Array(head).buffer);
  const found = new Map<string, Matrix>();
  let at = 0;
  for (const { name, rows, columns } of arrays) {
    if (at + rows * columns > numbers.length) throw altered();
    found.set(name, matrix(rows, columns, numbers.slice(at, at + rows * columns)));
    at += rows * columns;
  }
  const need = (name: string): Matrix => {
    const array = found.get(name);
    if (!array) throw altered();
    return array;
  };
  const directions = need('directions');
  return {
    backboneId,
    backboneSha256,
    inputSize,
    knowledge: {
      ...rest,
      weights: need('weights'),
      novelty: {
        rank: directions.columns,
        mean: need('mean').data,
        directions,
        variance: need('variance').data,
        precision: need('precision').data,
        whitening: need('whitening'),
        centres: need('centres'),
        residual,
        scale: noveltyScale,
      },
    },
  };
}
