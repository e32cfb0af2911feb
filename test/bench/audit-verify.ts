import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRootKey, openRootKey } from '../../main/audit/keys.ts';
import { signHead, verifyTrail } from '../../main/audit/trail.ts';
import { openStore } from '../../main/store/open.ts';
import { record, spread } from './record.ts';

/* How fast a long audit trail is proved whole: from the database, every hash, the chain and every signed head. */

const ENTRIES = 200_000;
const RUNS = 5;
const base = mkdtempSync(join(tmpdir(), 'mekiki-audit-'));
try {
  const store = await openStore({ home: join(base, 'home'), demo: false });
  const root = openRootKey(createRootKey());
  store.audit.signWith((head) => signHead(head, 'within', root.privateKey));
  for (let from = 0; from < ENTRIES; from += 1_000) {
    store.transaction(() => {
      for (let i = 0; i < 1_000; i += 1) {
        store.audit.append({
          user: 'sato',
          action: 'labels.create',
          subject: `part ${from + i}`,
          details: { classId: 'c-scratch', partIds: [from + i], before: null, after: 'c-scratch' },
        });
      }
    });
  }
  const proof = {
    rootPublicKey: root.publicKey,
    heads: store.audit.heads(),
    outside: signHead({ ...store.audit.head()!, at: store.audit.newestAt()! }, 'outside', root.privateKey),
  };
  const perSecond: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const started = performance.now();
    const verdict = verifyTrail(store.audit.all(), proof);
    if (!verdict.valid) throw new Error('the trail as written must be valid');
    perSecond.push((ENTRIES * 1000) / (performance.now() - started));
  }
  record('audit-verify', 'node main/host/build/launch.mjs test/bench/audit-verify.ts', {
    entries: ENTRIES,
    signedHeads: proof.heads.length,
    entriesPerSecond: spread(perSecond),
  });
  store.close();
} finally {
  rmSync(base, { recursive: true, force: true });
}
