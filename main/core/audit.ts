import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../store/files.ts';
import type { CoreContext, HandlersOf } from './context.ts';

export interface AuditService {
  handlers: HandlersOf<'audit.list'>;
  close(): Promise<void>;
}

const headSchema = z.object({ n: z.number().int(), hash: z.string() });
/** A trail may lose its newest entries unnoticed for so long. */
const NOTED_EVERY_MS = 2_000;

const headFile = (home: string): string => join(home, 'trust', 'audit-head.json');

/** What the trail must at least contain, as noted outside the database; null: nothing noted. */
const readHead = (home: string): { n: number; hash: string } | null => {
  try {
    return headSchema.parse(JSON.parse(readFileSync(headFile(home), 'utf8')));
  } catch {
    // Missing in a new home; damaged: then the chain alone has to prove itself.
    return null;
  }
};

/** Lists and verifies the trail, and notes its newest entry outside the database, so that cutting off its end is found. */
export const createAuditService = ({ store, log }: CoreContext): AuditService => {
  let noted = readHead(store.home)?.n ?? 0;
  let writing: Promise<void> = Promise.resolve();
  const note = (): void => {
    const head = store.audit.head();
    // Shorter than what was noted: the note is the proof of it and stays.
    if (head === null || head.n <= noted) return;
    noted = head.n;
    writing = writing
      .then(() => writeDurably(headFile(store.home), JSON.stringify(head)))
      .catch((error: unknown) => log.warn('audit head not noted', { error }));
  };
  const timer = setInterval(note, NOTED_EVERY_MS);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      note();
      await writing;
    },
    handlers: {
      async 'audit.list'({ limit, before }) {
        const { valid, firstBroken } = store.audit.verify(readHead(store.home));
        const entries = store.audit.list({ limit, ...(before !== undefined && { before }) });
        return {
          valid,
          firstBroken,
          entries: entries.map(({ n, at, user, action, subject }) => ({ n, at, user, action, subject })),
        };
      },
    },
  };
};
