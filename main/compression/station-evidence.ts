import { join } from 'node:path';
import type { Gate, Recipe } from '../contract/domain.ts';
import type { Successors } from '../contract/trainer.ts';
import { MOST_ROWS as MOST_NOVELTY_PARTS } from '../learning/held-out-novelty.ts';
import { writeBundle } from './bundle-files.ts';
import { describeEnvironment } from './environment.ts';
import { buildEvidence, calibrationOf, dataDigest, type LeftAlone } from './evidence/evidence.ts';
import {
  dropGate,
  escapeGate,
  latencyGate,
  mappingGate,
  noveltyGate,
  overkillGate,
  parityGate,
  recallGate,
} from './evidence/gates.ts';
import type { Latency } from './evidence/latency.ts';
import {
  changedBetween,
  classesToday,
  escapesOf,
  overkillsOf,
  pairsByClass,
  recallByClass,
  type Verdict,
} from './evidence/verdicts.ts';
import { newDefectsLost, type Finished, type FinishOptions } from './finish.ts';
import { classesToldApart } from './good-parts.ts';
import type { FinishedOffer } from './judge-finished.ts';
import { parityStages } from './parity-stages.ts';
import { crowdedClasses, deployedVerdicts, heldOutVerdicts } from './part-verdicts.ts';
import { discordantOf } from './plan/evaluate.ts';
import type { CompressStationOutput } from './station.ts';
import { basisOfSums, evidenceOfSums, type SumsOfOthers } from './sums-of-others.ts';

/* The last step of a station's compression: what was made and judged is compared with the uncompressed and the active model, and written with its evidence. */

export interface StationOffer extends FinishedOffer {
  id: string;
  /** Share of the arithmetic that pruning took. */
  ratio: number;
  finished: Finished;
  /** Its backbone before it was quantised. */
  float: Uint8Array | null;
  latency: Latency;
  speedupInterval: [number, number] | null;
  /** Ledger rows that the network was not fitted to; null: all. */
  unseen: ReadonlySet<number> | null;
  /** Null: it was not pruned. */
  leftAlone: LeftAlone | null;
}

interface StationEvidenceOptions extends FinishOptions {
  recipe: Recipe;
  lineThreads: number;
  others: SumsOfOthers | null;
  /** The uncompressed model with the same labels. */
  reference: Finished;
  referenceLatency: Latency;
  /** Bundle that inspects now; null: none does. */
  activeBundleDir: string | null;
  /** What it means by classes that are no more. */
  successors: Successors;
  /** Folder that bundles are written to. */
  outDir: string;
  /** A class for people. */
  nameOf: (classId: string) => string;
}

/** What every candidate is compared with. */
interface Comparison {
  /** Held-out verdicts of the uncompressed model, by the first ledger row of each part. */
  reference: ReadonlyMap<number, Verdict>;
  /** The active model as it inspects; null: there is none that tells classes apart. */
  active: { verdicts: ReadonlyMap<number, Verdict>; classIds: ReadonlySet<string> } | null;
  okIds: ReadonlySet<string>;
  dataSha256: string;
}

type WrittenCandidate = Omit<CompressStationOutput['candidates'][number], 'recommended'>;

/**
 * Bundles with their evidence, in the order of the offers.
 * @throws CANCELLED, MODEL_UNREADABLE, BUNDLE_ALTERED, HOME_NOT_WRITABLE, DISK_FULL
 */
export async function writeCandidates(
  offers: readonly StationOffer[],
  options: StationEvidenceOptions,
): Promise<WrittenCandidate[]> {
  const { reference, activeBundleDir, classes, ledger } = options;
  const comparison: Comparison = {
    reference: heldOutVerdicts(reference, ledger),
    active: activeBundleDir === null ? null : await activeIn(activeBundleDir, options),
    okIds: new Set(classes.filter(({ isOk }) => isOk).map(({ id }) => id)),
    dataSha256: dataDigest(ledger),
  };
  const written: WrittenCandidate[] = [];
  for (const offer of offers) written.push(await writeCandidate(offer, comparison, options));
  return written;
}

async function activeIn(bundleDir: string, options: StationEvidenceOptions): Promise<Comparison['active']> {
  const known = await classesToldApart(bundleDir);
  if (known === null) return null;
  const { classToday, today } = classesToday(options.successors);
  const verdicts = await deployedVerdicts({ bundleDir, threads: options.threads }, options);
  return {
    verdicts: new Map([...verdicts].map(([row, each]) => [row, { ...each, judgement: today(each.judgement) }])),
    classIds: new Set([...known].map(classToday)),
  };
}

async function writeCandidate(
  offer: StationOffer,
  comparison: Comparison,
  options: StationEvidenceOptions,
): Promise<WrittenCandidate> {
  const { finished, latency, unseen } = offer;
  const { active, okIds, dataSha256 } = comparison;
  const { reference, referenceLatency, ledger, classes, criteria, others, threads, lineThreads } = options;
  const [before, after] = [reference.compared.judged, finished.compared.judged];
  const verdicts = heldOutVerdicts(finished, ledger);
  // The active model has learnt from most of these parts: held-out verdicts would lose to it whatever the candidate is.
  const inspecting =
    active && (await deployedVerdicts({ model: finished.inspector, card: finished.card, threads }, options));
  const shaOf = (row: number) => ledger[row]!.sha;
  const crowded = crowdedClasses(finished.validation.rows, ledger);
  const hasRoom = (good: boolean) => classes.some(({ id, isOk }) => isOk === good && !crowded.has(id));
  const gates: Gate[] = [
    escapeGate(escapesOf(verdicts, okIds), criteria, hasRoom(false)),
    overkillGate(overkillsOf(verdicts, okIds), criteria, hasRoom(true)),
    dropGate(discordantOf(before, after), criteria, unseen && discordantOf(before, after, unseen)),
    ...(active && inspecting ? [recallGate(pairsByClass(active.verdicts, inspecting))] : []),
    ...noveltyGates(finished, reference),
    ...(finished.mapFit ? [mappingGate(finished.mapFit)] : []),
    latencyGate(latency.samples, criteria),
    parityGate(finished.parity),
  ];
  const sumsOfOthers = others && evidenceOfSums(others, finished.mapFit, ledger);
  const evidence = buildEvidence({
    reference: {
      finished: reference,
      judged: before,
      latency: referenceLatency,
      compared: reference.compared.balancedAccuracy,
    },
    candidate: {
      finished,
      judged: after,
      latency,
      // By what the offer was judged and recommended by: one loss, wherever it is shown.
      compared: offer.balancedAccuracy,
      speedupInterval: offer.speedupInterval,
    },
    inspecting: active &&
      inspecting && {
        active: new Map([...recallByClass(active.verdicts)].filter(([id]) => active.classIds.has(id))),
        candidate: recallByClass(inspecting),
      },
    basis: basisOf(comparison, unseen) + (sumsOfOthers ? basisOfSums(sumsOfOthers, options.nameOf) : ''),
    gates,
    changed:
      active && inspecting
        ? changedBetween(active.verdicts, inspecting, shaOf)
        : changedBetween(comparison.reference, verdicts, shaOf),
    environment: describeEnvironment(lineThreads),
    dataSha256,
    parityStages: await parityStages(reference, finished, offer.float, options),
    calibration: calibrationOf(finished, ledger, okIds, criteria),
    leftAlone: offer.leftAlone,
    sumsOfOthers,
  });
  const dir = join(options.outDir, offer.id);
  await writeBundle(dir, { model: finished.inspector, card: finished.card, evidence });
  const { ratio, offered, reason } = offer;
  return { dir, card: finished.card, evidence, ratio, offered, reason };
}

function basisOf({ reference, active }: Comparison, unseen: ReadonlySet<number> | null): string {
  const apart = [...reference.keys()].filter((row) => unseen?.has(row)).length;
  return [
    `5-fold cross-validation over ${reference.size} labelled parts; verdicts without the novelty check`,
    ...(unseen ? [`; the network was not fitted to ${apart} of them: the drop is the worse of all and of those`] : []),
    ...(active ? ['; against the active model: both as they inspect, both may have learnt from these parts'] : []),
  ].join('');
}

/** None with too few classes to hold one out. */
function noveltyGates(finished: Finished, reference: Finished): Gate[] {
  const lost = newDefectsLost(reference, finished);
  const parts = reference.newDefects?.classes.reduce((sum, { fresh }) => sum + fresh.length, 0) ?? 0;
  return lost ? [noveltyGate(lost, parts, MOST_NOVELTY_PARTS)] : [];
}
