import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundleDigest } from '../audit/approval.ts';
import { encodeBundle, looksLikeBundle, openBundle } from '../audit/bundle-file.ts';
import {
  isTrusted,
  ownInstallation,
  readTrusted,
  signTrusted,
  trustedFile,
  type TrustedInstallation,
} from '../audit/trusted.ts';
import { BUNDLE_BYTES_AT_MOST, type BundleAbout } from '../contract/bundle.ts';
import type { Candidate, ModelCard } from '../contract/domain.ts';
import { AppError, fileError, problemOf } from '../contract/errors.ts';
import { createLane } from '../contract/lane.ts';
import { diskError, nodeFiles, syncFile, writeDurably } from '../store/files.ts';
import { bundleDirOf } from './bundle-folder.ts';
import type { ClassService } from './classes.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { refuseOtherMark } from './demo-mark.ts';
import { checkTarget } from './outside.ts';
import type { RecheckService } from './recheck.ts';

export interface BundleService {
  handlers: HandlersOf<
    'bundles.export' | 'bundles.verify' | 'bundles.import' | 'bundles.trusted' | 'bundles.trust' | 'bundles.distrust'
  >;
}

/** The bytes of a bundle file. NOT_FOUND, INVALID_INPUT where it cannot be read, or cannot be one. */
export const readBundleBytes = async (file: string): Promise<Buffer> => {
  try {
    const about = await stat(file);
    // A pipe or a device would never end.
    if (!about.isFile()) throw new AppError('INVALID_INPUT', { what: file, problem: 'it is no file' });
    if (about.size > BUNDLE_BYTES_AT_MOST)
      throw new AppError('INVALID_INPUT', { what: file, problem: 'it is too large for a bundle' });
    return await readFile(file);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw fileError('bundle file', file, cause);
  }
};

/** What a file is, before anything of it is taken. BUNDLE_ALTERED, NOT_FOUND. */
export const aboutBundle = async (home: string, file: string) => {
  const { manifest, card, approval, sha256 } = openBundle(await readBundleBytes(file), file);
  const { files, ...about } = manifest;
  return {
    valid: true,
    trusted: isTrusted(home, manifest),
    sha256,
    ...about,
    classes: card.classes.map(({ id }) => id),
    approval: approval && {
      signatureId: approval.signatureId,
      userName: approval.userName,
      meaning: approval.meaning,
      waiver: approval.waiver,
      at: approval.at,
    },
    files,
  } satisfies BundleAbout & { files: unknown };
};

/** An export may replace an export, and nothing else: a mistyped path must not cost somebody's file. */
const isBundle = async (file: string): Promise<boolean> => {
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return false;
  try {
    const start = Buffer.alloc(8);
    await handle.read(start, 0, start.length, 0);
    return looksLikeBundle(start);
  } finally {
    await handle.close();
  }
};

/** Bundles as files: out of this home under its own key, and in from installations that it trusts. */
export const createBundleService = (
  context: CoreContext,
  { recheck, classes }: { recheck: RecheckService; classes: Pick<ClassService, 'adopt'> },
): BundleService => {
  const { store, keys, log } = context;

  const trusted = () => {
    const { installations, intact } = readTrusted(store.home);
    if (!intact) log.error('the list of trusted installations was not written by this home: nobody is trusted');
    return { installation: ownInstallation(store.home) ?? keys.installation, installations };
  };
  const writing = createLane();
  /**
   * One after the other: each changes what the one before it wrote, or a trust that was just taken away would be back. The entry first: a power cut between the two
   * leaves one that says more than was done, never a trust that the trail does not know.
   * @param change null: nothing is to be changed
   */
  const setTrusted = (
    entry: { user: string; action: string; subject: string; details?: Record<string, unknown> },
    change: (list: TrustedInstallation[]) => TrustedInstallation[] | null,
  ): Promise<void> =>
    writing(async () => {
      const installations = change(trusted().installations);
      if (installations === null) return;
      store.transaction(() => store.audit.append(entry));
      await writeDurably(trustedFile(store.home), signTrusted(installations, keys.signing));
    });

  const exportTo = async (candidate: Candidate, file: string, by: string) => {
    const bundleDir = bundleDirOf(store.home, candidate.id);
    const read = (name: string) =>
      readFile(join(bundleDir, name)).catch((cause: unknown) => {
        throw new AppError('BUNDLE_ALTERED', { file: join(bundleDir, name), problem: problemOf(cause) }, { cause });
      });
    const names = ['model.onnx', 'model.json', 'evidence.json'] as const;
    const files: Parameters<typeof encodeBundle>[1] = [
      ...(await Promise.all(names.map(async (name) => ({ name, bytes: await read(name) })))),
      ...(candidate.approval === null ? [] : [{ name: 'approval.json' as const, bytes: await read('approval.json') }]),
    ];
    const card = JSON.parse(files[1]!.bytes.toString()) as ModelCard;
    const bytes = encodeBundle(
      {
        installation: keys.installation,
        demo: store.demo,
        exportedAt: context.now().toISOString(),
        candidateId: candidate.id,
        stationName: store.stations.get(candidate.stationId).name,
        state: candidate.state,
        lineage: {
          knowledgeId: candidate.knowledgeId,
          backboneId: candidate.backboneId,
          backboneSha256: card.backboneSha256,
          dataSha256: candidate.evidence.dataSha256,
        },
      },
      files,
      keys.signBytes,
    );
    // What leaves is opened once as the receiver will: a file that was altered here is not passed on under our name.
    const opened = openBundle(bytes, bundleDir);
    if (opened.manifest.bundleSha256 !== candidate.bundleSha256)
      throw new AppError('BUNDLE_ALTERED', { file: bundleDir });
    await writeDurably(file, bytes);
    store.transaction(() =>
      store.audit.append({
        user: by,
        action: 'bundles.export',
        subject: candidate.id,
        details: { file, sha256: opened.sha256, approved: opened.approval !== null },
      }),
    );
    return { file, bytes: bytes.length, sha256: opened.sha256, installation: keys.installation };
  };

  const importFrom = async (stationId: string, file: string, by: string): Promise<Candidate> => {
    const station = store.stations.get(stationId);
    const bytes = await readBundleBytes(file);
    const { manifest, card, evidence, approval, file: part, sha256 } = openBundle(bytes, file);
    refuseOtherMark(store, file, manifest);
    if (!isTrusted(store.home, manifest))
      throw new AppError('NOT_TRUSTED', { file, problem: 'its key is not in the list', key: manifest.installation });
    const refuseTwice = () => {
      const twice = store.candidates.list(stationId).find((known) => known.origin?.fileSha256 === sha256);
      if (twice !== undefined) throw new AppError('ALREADY_EXISTS', { kind: 'candidate', id: twice.id });
    };
    refuseTwice();

    const id = `m-${randomUUID().slice(0, 12)}`;
    const making = join(store.home, 'bundles', `.making-${randomUUID().slice(0, 8)}`);
    try {
      await mkdir(making);
      await writeFile(join(making, 'model.onnx'), part('model.onnx'));
      // Under a name and for a station of this home: that is what its approval here will sign. Numbers stay as they came.
      const own: ModelCard = { ...card, id, stationId, recipe: station.recipe };
      await writeFile(join(making, 'model.json'), `${JSON.stringify(own, null, 2)}\n`);
      await writeFile(join(making, 'evidence.json'), part('evidence.json'));
      // Whole: its signature, and the approval that it had there, can be proved at any time.
      await writeFile(join(making, 'origin.mekiki'), bytes);
      for (const name of ['model.onnx', 'model.json', 'evidence.json', 'origin.mekiki'])
        await syncFile(join(making, name));
      await nodeFiles.syncDirectory(making);
      const candidate: Candidate = {
        id,
        stationId,
        state: 'candidate',
        createdAt: context.now().toISOString(),
        knowledgeId: manifest.lineage.knowledgeId,
        backboneId: manifest.lineage.backboneId,
        strategy: card.strategy,
        precision: card.precision,
        ratio: 1,
        inputSize: card.inputSize,
        bundleSha256: await bundleDigest(making),
        offered: true,
        recommended: false,
        reason: `imported from ${manifest.stationName}`,
        evidence,
        approval: null,
        rejection: null,
        activatedAt: null,
        origin: {
          installation: manifest.installation,
          candidateId: manifest.candidateId,
          stationName: manifest.stationName,
          fileSha256: sha256,
          approvedBy: approval?.userName ?? null,
        },
      };
      await rename(making, bundleDirOf(store.home, id));
      await nodeFiles.syncDirectory(dirname(making));
      store.transaction(() => {
        // Another window may have brought the same file meanwhile.
        refuseTwice();
        const missing = card.classes.filter(({ id }) => !store.classes.has(id));
        classes.adopt(missing, by, file);
        store.candidates.insert(candidate);
        store.audit.append({
          user: by,
          action: 'bundles.import',
          subject: id,
          details: { file, stationId, ...candidate.origin, bundleSha256: candidate.bundleSha256 },
        });
      });
      context.emit('candidates.changed', { stationId });
      return store.candidates.get(id);
    } catch (error) {
      await rm(bundleDirOf(store.home, id), { recursive: true, force: true });
      throw diskError(error, store.home);
    } finally {
      await rm(making, { recursive: true, force: true });
    }
  };

  return {
    handlers: {
      async 'bundles.export'({ candidateId, file }, session) {
        await checkTarget(store.home, file, isBundle);
        return exportTo(store.candidates.get(candidateId), file, actor(session));
      },
      'bundles.verify': ({ file }) => aboutBundle(store.home, file),
      async 'bundles.import'({ stationId, file }, session) {
        const candidate = await importFrom(stationId, file, actor(session));
        // For whoever decides on it; before it inspects it is measured anyway.
        return recheck.measure(candidate.id, actor(session)).catch((error: unknown) => {
          log.warn('not measured on this PC yet', { candidate: candidate.id, error });
          return candidate;
        });
      },
      'bundles.trusted': async () => trusted(),
      async 'bundles.trust'({ key, name }, session) {
        if (key === keys.installation) return trusted();
        const [by, at] = [actor(session), context.now().toISOString()];
        await setTrusted({ user: by, action: 'bundles.trust', subject: key, details: { name } }, (list) =>
          list.some((known) => known.key === key) ? null : [...list, { key, name, by, at }],
        );
        return trusted();
      },
      async 'bundles.distrust'({ key }, session) {
        const by = actor(session);
        await setTrusted({ user: by, action: 'bundles.distrust', subject: key }, (list) =>
          list.filter((known) => known.key !== key),
        );
        return trusted();
      },
    },
  };
};
