import type { Backbone, Criteria } from '../contract/domain.ts';
import type { Products } from '../learning/dense.ts';
import type { Model } from '../onnx/index.ts';
import { replaceBundle } from './bundle-files.ts';
import type { ReportedCandidate, ReportedMeasures, CompressReport } from './dataset-report.ts';
import type { describeEnvironment } from './environment.ts';
import { buildEvidence, dataDigest, leftAloneOf, measuresOf } from './evidence/evidence.ts';
import { dropGate, parityGate } from './evidence/gates.ts';
import type { Finished } from './finish.ts';
import { groupedMeasures, judgeGrouped } from './grouped-validation.ts';
import type { FinishedOffer } from './judge-finished.ts';
import type { LabelledImages } from './labelled-images.ts';
import { parityStages } from './parity-stages.ts';
import { discordantOf, type Judged } from './plan/evaluate.ts';
import type { TrialRecord } from './plan/trials.ts';
import { testFinished, type TestResult } from './test-report.ts';
import type { TimedModel } from './time-finished.ts';

/* The last step of `compress DIR`: every choice is made, and what was made is judged on test images, for the report alone. */

export interface FinishedTrial extends FinishedOffer {
  record: TrialRecord;
  finished: Finished;
  /** Its backbone before it was quantised. */
  float: Uint8Array | null;
  times: TimedModel;
}

export interface TestContext {
  backbone: Backbone;
  /** With its feature outputs only: what pruning leaves alone is told against it. */
  base: Model;
  /** Pre-pruning started from the backbone adapted to the first task. */
  adapted: boolean;
  tasks: readonly (readonly string[])[];
  training: LabelledImages;
  test: LabelledImages;
  criteria: Criteria;
  environment: ReturnType<typeof describeEnvironment>;
  products: Products;
  threads: number;
  /** Folder that bundles are written to; default: none is. */
  out?: string | undefined;
  residentBytes?: ((model: Uint8Array, inputSize: number) => Promise<number | null>) | undefined;
  signal?: AbortSignal | undefined;
}

/** @throws DATASET_CLASSES_DIFFER, CANCELLED, HOME_NOT_WRITABLE, DISK_FULL */
export async function testOffers(
  reference: Finished,
  referenceTimes: TimedModel,
  offers: readonly FinishedTrial[],
  context: TestContext,
): Promise<Pick<CompressReport, 'reference' | 'candidates'>> {
  const { backbone, base, adapted, test, criteria, products, signal } = context;
  const testOptions = {
    ...context,
    source: test.source,
    images: test.images,
    truth: test.ledger.map(({ classId }) => classId),
  };
  const grouped = (item: Finished, tested: TestResult): Promise<Judged | null> => {
    const parts = [
      { features: item.features, ledger: context.training.ledger },
      { features: tested.features, ledger: test.ledger },
    ];
    return judgeGrouped(item, parts, products, { signal });
  };
  const referenceTest = await testFinished(reference, testOptions);
  const referenceGrouped = await grouped(reference, referenceTest);
  const againstReference = (judged: Judged | null) =>
    referenceGrouped && judged ? groupedMeasures(referenceGrouped, judged) : null;
  const measures = async (
    item: Finished,
    tested: TestResult,
    { latency, energyMj }: TimedModel,
    validated: number,
  ): Promise<ReportedMeasures> => ({
    ...measuresOf(item, tested.judged, latency),
    energyMj,
    latencyMsCold: latency.coldP50,
    validation: { balancedAccuracy: validated },
    rssBytes: (await context.residentBytes?.(item.inspector, item.card.inputSize)) ?? null,
  });

  const dataSha256 = dataDigest(test.ledger);
  const candidates: ReportedCandidate[] = [];
  for (const { record, finished, float, times, ...offer } of offers) {
    const { variant, made } = record;
    const tested = await testFinished(finished, testOptions);
    const gates = [dropGate(discordantOf(referenceTest.judged, tested.judged), criteria), parityGate(finished.parity)];
    const learntFromLabels = (variant.strategy === 'pre-prune' && adapted) || made.student?.curriculum === 'tasks';
    const leftAlone = leftAloneOf(base, record);
    const evidence = buildEvidence({
      reference: { finished: reference, judged: referenceTest.judged, latency: referenceTimes.latency },
      candidate: { finished, judged: tested.judged, ...times },
      inspecting: null,
      basis: `${test.images.length} test images, opened after every choice was made`,
      gates,
      changed: [],
      environment: context.environment,
      dataSha256,
      parityStages: await parityStages(reference, finished, float, { ...context, ...context.training }),
      leftAlone,
    });
    candidates.push({
      id: record.id,
      strategy: variant.strategy,
      precision: variant.precision,
      ratio: made.ratio,
      inputSize: variant.inputSize,
      ...(await measures(finished, tested, times, offer.balancedAccuracy)),
      speedup: times.speedup,
      speedupInterval: times.speedupInterval,
      accuracyDropPp: evidence.accuracyDropPp,
      offered: offer.offered,
      reason: offer.reason,
      parity: finished.parity,
      perClass: tested.perClass,
      bwt: tested.bwt,
      gates,
      // Labels of its training images would be recognised.
      grouped: learntFromLabels ? null : againstReference(await grouped(finished, tested)),
      adapted: variant.strategy === 'pre-prune' && adapted,
      student: made.student,
      untouched: [...(leftAlone?.untouched ?? [])],
      unknownOperators: { ...leftAlone?.unknownOperators },
    });
    if (context.out === undefined) continue;
    await replaceBundle(context.out, record.id, { model: finished.inspector, card: finished.card, evidence });
  }
  return {
    reference: {
      ...(await measures(reference, referenceTest, referenceTimes, reference.compared.balancedAccuracy)),
      inputSize: backbone.inputSize,
      perClass: referenceTest.perClass,
      bwt: referenceTest.bwt,
      grouped: againstReference(referenceGrouped),
    },
    candidates,
  };
}
