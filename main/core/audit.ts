import { readFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { signHead, TRAIL_START, walkTrail, type SignedHead, type TrailVerdict } from '../audit/trail.ts';
import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import { readEntry } from '../store/audit-entries.ts';
import { diskError, nodeFiles, writeAll, writeDurably } from '../store/files.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { checkTarget } from './outside.ts';

export interface AuditService {
  handlers: HandlersOf<'audit.list' | 'audit.verify' | 'audit.export'>;
  close(): Promise<void>;
}

const headSchema = z.object({ n: z.number().int(), hash: z.string(), at: z.string(), signature: z.string() });
/** A trail may lose its newest entries unnoticed for so long. */
const NOTED_EVERY_MS = 2_000;
/** The same of one that never was noted: before it is so long that it must have been. An import writes a hundred entries within a second. */
const FIRST_NOTED_MS = 100;

const PAGE = 1_000;
/** Entries that are verified without a pause: some milliseconds. */
const SLICE = 500;
/** A million entries take longer than a program that is closed has before it is killed, with its database as after a crash. What is new is noted by the next run then. */
const CLOSING_MS = 2_000;

const headFile = (home: string): string => join(home, 'trust', 'audit-head.json');

/** What the trail must at least contain, as noted outside the database. Throws where the file is there and cannot be read just now: it is not missing. */
const readHead = (home: string): SignedHead | 'missing' => {
  let text: string;
  try {
    text = readFileSync(headFile(home), 'utf8');
  } catch (error) {
    // A new home has none yet; a long trail must have one (verifyTrail).
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'missing';
    throw error;
  }
  try {
    return headSchema.parse(JSON.parse(text));
  } catch {
    return 'missing';
  }
};
/** null: not known now. */
const readFirstHead = (home: string, log: Logger): SignedHead | 'missing' | null => {
  try {
    return readHead(home);
  } catch (error) {
    log.warn('audit head not read', { error });
    return null;
  }
};

/** Lists, verifies and exports the trail, and notes its newest entry, signed, outside the database: cutting off its end is found. */
export const createAuditService = ({ store, keys, log, now }: CoreContext): AuditService => {
  store.audit.signWith((head) => signHead(head, 'within', keys.signing));
  const proof = () => ({
    rootPublicKey: keys.rootPublicKey(),
    heads: store.audit.heads(),
    outside: readHead(store.home),
  });
  let until = Infinity;
  /** The trail as it is now, a slice at a time: others go on meanwhile, and what they append is for the next time. CANCELLED: it is closed before the end. */
  const verify = async (): Promise<TrailVerdict> => {
    const walk = walkTrail(proof());
    const last = store.audit.head()?.n ?? 0;
    for (let done = 0; ;) {
      if (performance.now() > until) throw new AppError('CANCELLED');
      const entries = store.audit.page(done, Math.min(SLICE, last - done));
      const broken = walk.take(entries);
      if (broken !== null) return { ...broken, entries: store.audit.count(last) };
      if (entries.length === 0) return walk.end();
      done = entries.at(-1)!.n;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };

  const first = readFirstHead(store.home, log);
  // Before there is any entry: one that is cut off at once, with a hundred of them, is not taken for one that lost its note.
  const isNew = first === 'missing' && store.audit.head() === null;
  // As it was found: what is noted from now on must not cover up what was done to it before.
  // Of one that begins in this run nothing is walked: it may be long before it is noted for the first time.
  let verdict: TrailVerdict | null = isNew ? walkTrail(proof()).end() : null;
  let finding: Promise<TrailVerdict> | null = null;
  /** Once per run: nobody else can write while this program holds the database. */
  const found = async (): Promise<TrailVerdict> =>
    verdict ??
    // One that did not come to its end, for a file that could not be read just then, is no finding: the next one who asks begins anew.
    (finding ??= verify()
      .then((walked) => (verdict ??= walked))
      .finally(() => (finding = null)));
  let noted = first === 'missing' ? 0 : (first?.n ?? 0);
  let writing: Promise<void> = Promise.resolve();
  const notNoted = (error: unknown): void => log.warn('audit head not noted', { error });
  const noteHead = async (head: Pick<SignedHead, 'n' | 'hash'>): Promise<void> => {
    const newest = signHead({ ...head, at: now().toISOString() }, 'outside', keys.signing);
    await writeDurably(headFile(store.home), JSON.stringify(newest));
    noted = head.n;
  };
  const note = (): void => {
    writing = writing
      .then(async () => {
        // Shorter than what was noted: the note is the proof of it and stays. A broken trail is not signed anew either.
        if ((store.audit.head()?.n ?? 0) <= noted || !(verdict ?? (await found())).valid) return;
        await noteHead(store.audit.head()!);
      })
      .catch(notNoted);
  };
  if (isNew) writing = noteHead({ n: 0, hash: TRAIL_START }).catch(notNoted);
  // A home that is always killed within its first seconds has none, and a long trail without one is a broken one.
  else if (first === 'missing') note();
  let timer: NodeJS.Timeout;
  const noteLater = (): void => {
    timer = setTimeout(
      () => {
        note();
        noteLater();
      },
      first === 'missing' && noted === 0 ? FIRST_NOTED_MS : NOTED_EVERY_MS,
    );
    timer.unref();
  };
  noteLater();
  const noteFirst = async (): Promise<void> => {
    if (noted > 0) return;
    note();
    await writing;
  };

  const writeTrail = async (handle: FileHandle) => {
    await noteFirst();
    // All of one moment: a head of what is appended meanwhile would speak against the file, which has no such entry.
    const { heads, outside } = proof();
    const last = store.audit.head()?.n ?? 0;
    const { entries, valid, firstBroken } = await verify();
    let bytes = 0;
    // One JSON document a line: readable with any tool, and without holding a long trail in memory.
    const write = async (...lines: unknown[]) => {
      const text = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
      await writeAll(handle, text);
      bytes += text.length;
    };
    const { installation } = keys;
    await write({
      format: 'mekiki audit trail 1',
      installation,
      at: now().toISOString(),
      entries,
      valid,
      firstBroken,
    });
    // To its end, also where it is broken before: then all the more.
    for (let done = 0; done < last;) {
      const page = store.audit.page(done, PAGE).filter(({ n }) => n <= last);
      await write(...page.map(readEntry));
      done = page.at(-1)?.n ?? last;
    }
    await write({ heads, outside });
    await handle.sync();
    return { bytes, entries, valid, firstBroken };
  };

  const exportTo = async (file: string, by: string) => {
    await checkTarget(store.home, file);
    const handle = await open(file, 'wx').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw new AppError('ALREADY_EXISTS', { kind: 'file', id: file });
      throw diskError(error, file);
    });
    let written: Awaited<ReturnType<typeof writeTrail>>;
    try {
      written = await writeTrail(handle);
    } catch (error) {
      await nodeFiles.remove(file);
      throw diskError(error, file);
    } finally {
      await handle.close();
    }
    const { entries, valid } = written;
    store.transaction(() =>
      store.audit.append({ user: by, action: 'audit.export', subject: file, details: { entries, valid } }),
    );
    return { file, ...written };
  };

  return {
    async close() {
      clearTimeout(timer);
      until = performance.now() + CLOSING_MS;
      note();
      await writing;
    },
    handlers: {
      async 'audit.list'({ limit, before }) {
        // A page does not wait for a long trail.
        const finding = found().catch((error: unknown) => log.error('trail not verified', { error }));
        if ((store.audit.head()?.n ?? 0) <= SLICE) await finding;
        const { valid, firstBroken } = verdict ?? { valid: null, firstBroken: null };
        const entries = store.audit.list({ limit, ...(before !== undefined && { before }) });
        return {
          valid,
          firstBroken,
          entries: entries.map(({ n, at, user, action, subject }) => ({ n, at, user, action, subject })),
        };
      },
      async 'audit.verify'() {
        await noteFirst();
        verdict = await verify();
        return verdict;
      },
      'audit.export': async ({ file }, session) => exportTo(file, actor(session)),
    },
  };
};
