import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { CoreContext, HandlersOf } from './context.ts';

export interface AuditService {
  handlers: HandlersOf<'audit.list'>;
}

const headSchema = z.object({ n: z.number().int(), hash: z.string() });

/** What the trail must at least contain, as noted outside the database; null: nothing noted. */
export const readAuditHead = (home: string): { n: number; hash: string } | null => {
  try {
    return headSchema.parse(JSON.parse(readFileSync(join(home, 'trust', 'audit-head.json'), 'utf8')));
  } catch {
    // Missing in a new home; damaged: then the chain alone has to prove itself.
    return null;
  }
};

export const createAuditService = ({ store }: CoreContext): AuditService => ({
  handlers: {
    async 'audit.list'({ limit, before }) {
      const { valid, firstBroken } = store.audit.verify(readAuditHead(store.home));
      const entries = store.audit.list({ limit, ...(before !== undefined && { before }) });
      return {
        valid,
        firstBroken,
        entries: entries.map(({ n, at, user, action, subject }) => ({ n, at, user, action, subject })),
      };
    },
  },
});
