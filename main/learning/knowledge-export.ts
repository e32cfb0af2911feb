import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import { id, sha256Schema } from '../contract/domain/values.ts';
import type { Successors } from '../contract/trainer.ts';
import { diskError, nodeFiles, readAll, removeLeft } from '../store/files.ts';
import { embeddingSize, GRID, type Stages } from './embedding.ts';
import { packedLength, Statistics } from './statistics.ts';
import { sumsAgree } from './statistics-cache.ts';

/*
 * Knowledge as one file, to be added to another station's: sums per class, and no row of any image. Layout: the eight bytes
 * MEKIKIK1, the length of a JSON header (uint32, little-endian), the header, then per class of the header s_c and S_c (packed lower triangle) as
 * little-endian float64. The header holds the sha256 of all that follows it, and the sha256 of the backbone: sums of other features mean
 * nothing.
 *
 * A class of one image gives that image's features away (S_c = z z^T), as any sum of one does.
 */

const MAGIC = 'MEKIKIK1';

/** Both become part of file names. */
const sourceSchema = z.object({ home: z.string().regex(/^[0-9a-f]{32}$/), station: z.string().regex(/^[\w-]{1,64}$/) });
/** Whose images the sums are of: fingerprint of the home's root key, id of the station. */
export type ExportSource = z.infer<typeof sourceSchema>;

const headerSchema = z.object({
  format: z.literal(1),
  /** Not in files made before there was such a thing. */
  source: sourceSchema.optional(),
  /** Made in a demo home, of parts that there are not. */
  demo: z.boolean().default(false),
  /** Stations whose exports the source had taken in: their images are in the sums too. */
  includes: z.array(sourceSchema).default([]),
  /** Hashes of the images, in what one station of a home merged from another. Never in files that are for another home. */
  images: z.array(z.string()).optional(),
  /** Beside `images`: how many of them by whom (user id), as it was when they were summed. Not in files made before there was such a thing. */
  labelledBy: z.record(z.string(), z.number().int().positive()).optional(),
  backboneId: z.string(),
  backboneSha256: z.string(),
  stages: z.array(z.number().int().positive()).min(1),
  grid: z.number(),
  /** Of the station it comes from. */
  lambda: z.number().positive(),
  balancing: z.number(),
  classes: z.array(
    z.object({
      // As a home keeps it: one that it could store and not read again would take all its classes away.
      classId: id,
      names: z.object({ en: z.string(), ja: z.string() }).optional(),
      isOk: z.boolean().optional(),
      count: z.number().int().positive(),
    }),
  ),
  /** Also the file's name where nothing tells whose it is: it must not lead elsewhere. */
  bodySha256: sha256Schema,
});
export type ExportHeader = z.infer<typeof headerSchema>;

export interface KnowledgeExport {
  header: ExportHeader;
  statistics: Statistics;
  choice: { lambda: number; balancing: number };
}

export interface ExportInput {
  statistics: Statistics;
  backboneId: string;
  backboneSha256: string;
  stages: Stages;
  lambda: number;
  balancing: number;
  /** What people call the classes, for the station that takes them in. */
  classes?: readonly { id: string; names: { en: string; ja: string }; isOk: boolean }[];
  source?: ExportSource;
  demo?: boolean;
  includes?: readonly ExportSource[];
  images?: readonly string[];
  labelledBy?: Readonly<Record<string, number>>;
}

const bytesOf = (values: Float64Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Body of one class at a time: all of them together may be larger than memory. */
function* bodyOf(statistics: Statistics): Generator<Uint8Array> {
  for (const classId of statistics.classIds) {
    yield bytesOf(statistics.of(classId)!.sum);
    yield bytesOf(statistics.packedOf(classId));
  }
}

/** @throws DISK_FULL, HOME_NOT_WRITABLE, TOO_FEW_CLASSES */
export async function writeExport(file: string, input: ExportInput): Promise<ExportHeader> {
  const { statistics, backboneId, backboneSha256, stages, lambda, balancing } = input;
  if (statistics.classIds.length === 0) throw new AppError('TOO_FEW_CLASSES', { found: 0, needed: 1 });
  const hash = createHash('sha256');
  for (const part of bodyOf(statistics)) hash.update(part);
  const header: ExportHeader = {
    format: 1,
    ...(input.source ? { source: input.source } : {}),
    demo: input.demo ?? false,
    includes: [...(input.includes ?? [])],
    ...(input.images ? { images: [...input.images] } : {}),
    ...(input.labelledBy ? { labelledBy: { ...input.labelledBy } } : {}),
    backboneId,
    backboneSha256,
    stages: [...stages],
    grid: GRID,
    lambda,
    balancing,
    classes: statistics.classIds.map((classId) => {
      const known = input.classes?.find(({ id }) => id === classId);
      return {
        classId,
        count: statistics.count(classId),
        ...(known ? { names: known.names, isOk: known.isOk } : {}),
      };
    }),
    bodySha256: hash.digest('hex'),
  };
  const text = Buffer.from(JSON.stringify(header));
  const start = Buffer.alloc(12);
  start.write(MAGIC, 'latin1');
  start.writeUInt32LE(text.byteLength, 8);
  // Nobody else's: the folder is a person's.
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    const out = createWriteStream(temporary, { flags: 'wx', flush: true });
    const ended = new Promise<void>((resolve, reject) => out.on('close', resolve).on('error', reject));
    for (const part of [start, text]) out.write(part);
    for (const part of bodyOf(statistics)) {
      if (!out.write(part))
        await Promise.race([new Promise<void>((resolve) => out.once('drain', () => resolve())), ended]);
    }
    out.end();
    await ended;
    await rename(temporary, file);
    await nodeFiles.syncDirectory(dirname(file));
  } catch (cause) {
    await removeLeft(temporary);
    throw diskError(cause, file);
  }
  return header;
}

/** Header alone. @throws NOT_FOUND, KNOWLEDGE_UNREADABLE when it is no such file */
export async function readExportHeader(file: string): Promise<{ header: ExportHeader; bodyAt: number }> {
  const unreadable = (problem: string, cause?: unknown) =>
    new AppError('KNOWLEDGE_UNREADABLE', { file, problem }, { cause });
  const NO_SUCH = 'its beginning is not that of one';
  const HEADER_LIMIT = 64 * 2 ** 20;
  const chunks: Buffer[] = [];
  let length = 0;
  let wanted = 12;
  try {
    // Opening a pipe that nobody writes to would never end.
    const found = await stat(file);
    if (!found.isFile()) throw unreadable(found.isDirectory() ? 'it is a folder' : 'it is no file');
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (wanted === 12 && length >= 12) {
        const start = Buffer.concat(chunks);
        if (start.toString('latin1', 0, 8) !== MAGIC) throw unreadable(NO_SUCH);
        wanted = 12 + start.readUInt32LE(8);
        if (wanted > HEADER_LIMIT) throw unreadable('its description is too long');
      }
      if (wanted > 12 && length >= wanted) break;
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') throw unreadable('it may not be read', cause);
    throw new AppError('NOT_FOUND', { kind: 'knowledge file', id: file }, { cause });
  }
  if (length === 0) throw unreadable('it is empty');
  if (length < 12) throw unreadable(NO_SUCH);
  if (length < wanted) throw unreadable('it is cut short');
  // A length of nothing: there is no description.
  if (wanted === 12) throw unreadable('it has no description');
  try {
    return {
      header: headerSchema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8', 12, wanted))),
      bodyAt: wanted,
    };
  } catch (cause) {
    throw unreadable('its description is damaged', cause);
  }
}

/**
 * Reads a file that writeExport made; its classes go by what is meant by them now, its header by what they were.
 * @throws NOT_FOUND, KNOWLEDGE_UNREADABLE, KNOWLEDGE_OF_OTHER_BACKBONE, BUNDLE_ALTERED when the sums are not those of its hash
 */
export async function readExport(
  file: string,
  {
    backboneSha256,
    stages,
    successors = [],
  }: { backboneSha256: string; stages: Stages; successors?: Successors | undefined },
): Promise<KnowledgeExport> {
  const { header, bodyAt } = await readExportHeader(file);
  if (header.backboneSha256 !== backboneSha256 || header.grid !== GRID || header.stages.join() !== [...stages].join()) {
    throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', {
      found: `${header.backboneId} (${header.backboneSha256.slice(0, 8)})`,
      needed: backboneSha256.slice(0, 8),
    });
  }
  const size = embeddingSize(stages);
  const perClass = 8 * (size + packedLength(size));
  const altered = () => new AppError('BUNDLE_ALTERED', { file });
  const statistics = new Statistics(size);
  const hash = createHash('sha256');
  await using handle = await open(file);
  const bytes = (await handle.stat()).size - bodyAt;
  if (bytes !== perClass * header.classes.length) {
    throw new AppError('KNOWLEDGE_UNREADABLE', {
      file,
      problem: `it has ${bytes} bytes of sums in place of ${perClass * header.classes.length}`,
    });
  }
  // Class by class: of many classes they are more than one read may give.
  for (const [c, { classId, count }] of header.classes.entries()) {
    const numbers = new Float64Array(perClass / 8);
    const raw = new Uint8Array(numbers.buffer);
    if (!(await readAll(handle, raw, bodyAt + c * perClass))) throw altered();
    hash.update(raw);
    const sums = { count, sum: numbers.slice(0, size), packed: numbers.slice(size) };
    if (!sums.sum.every(Number.isFinite) || !sumsAgree(sums)) throw altered();
    statistics.restore(classId, sums);
  }
  if (hash.digest('hex') !== header.bodySha256) throw altered();
  for (const [gone, into] of successors) {
    if (statistics.of(gone) === undefined) continue;
    if (into === null) statistics.forget(gone);
    else statistics.rename(gone, into);
  }
  return { header, statistics, choice: { lambda: header.lambda, balancing: header.balancing } };
}
