import type { Station } from '../contract/domain.ts';
import type { MethodOutput } from '../contract/methods.ts';
import type { LabelledImage } from '../contract/trainer.ts';
import { learnableFrom } from '../learning/anomaly/cold-start.ts';
import { picturesPerClass } from '../learning/folds.ts';
import { FEW_PARTS, goldenShare, type ClassCount } from '../learning/golden-share.ts';
import type { Label } from '../store/labels.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { featureFileOf } from './feature-file.ts';
import { goldenImages } from './golden-images.ts';
import type { JobWork } from './jobs.ts';
import { withTrainer } from './trainer.ts';

/*
 * Fills a station's golden set from its labels: of what was labelled since the last update a share goes to the set in the same step that learns the rest. On where a station has a set, off where it
 * has none: a first model needs what there is, and whoever has no set signs by cross-validation. Either is a person's choice, in the trail.
 */

/** What goes to the golden set: hash of the picture to the class it was labelled with, and its look. */
type Withheld = ReadonlyMap<string, { classId: string; look: string | null }>;

export interface GoldenFilling {
  handlers: HandlersOf<'golden.filling' | 'golden.setFilling'>;
  /** Which of the samples the next update leaves to the golden set; `others`: images of merged stations, which teach too. Changes nothing. */
  choose(
    job: JobWork,
    station: Station,
    samples: readonly LabelledImage[],
    others: readonly string[],
  ): Promise<Withheld>;
  /** Sets the choice, without a word in the trail. */
  turn(stationId: string, on: boolean): void;
  /** Within the update's transaction; what was labelled otherwise, or doubted, meanwhile stays a label. Gives how many were taken. */
  take(stationId: string, withheld: Withheld, by: { userName: string; at: string }): number;
}

const keyOf = (stationId: string): string => `golden.fill:${stationId}`;
const NOTHING: Withheld = new Map();

export const createGoldenFilling = (context: CoreContext): GoldenFilling => {
  const { store } = context;

  const isOn = (stationId: string): boolean => {
    const chosen = store.settings.get(keyOf(stationId));
    return typeof chosen === 'boolean' ? chosen : store.golden.facts(stationId) !== null;
  };

  const inSet = (stationId: string): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const { classId } of goldenImages(store, stationId)) counts.set(classId, (counts.get(classId) ?? 0) + 1);
    return counts;
  };

  /** Somebody, or a model, asks whether it is right: nothing is judged by it, for what is locked under a wrong class stays wrong. */
  const isDisputed = ({ partId }: Label): boolean => store.queue.state(partId) === 'open';

  /** Pictures that no update has learnt, of undisputed labels. What judged once has chosen models: it only teaches from then on. */
  const freshOf = (stationId: string): Map<string, string> => {
    const { backboneId } = store.stations.get(stationId);
    const judged = store.golden.retired(stationId);
    return new Map(
      store.labels
        .unlearnt(stationId)
        .filter((label) => !judged.has(label.imageSha) && !isDisputed(label))
        .filter(({ imageSha }) => store.features.rowOfImage(backboneId, imageSha) < 0)
        .map(({ imageSha, classId }) => [imageSha, classId]),
    );
  };

  /** At most so many of each class; none where the rest could not be learnt any more. */
  const mostOf = (counts: ReadonlyMap<string, ClassCount>): Map<string, number> => {
    const most = new Map([...counts].map(([classId, count]) => [classId, goldenShare(count)]));
    const okIds = store.classes.okIds();
    const all = new Map([...counts].map(([id, { fresh, learnt }]) => [id, fresh + learnt]));
    const left = new Map([...all].map(([id, count]) => [id, count - most.get(id)!]));
    return learnableFrom(left, okIds) === learnableFrom(all, okIds) ? most : new Map();
  };

  const countsOf = (stationId: string, labelled: ReadonlyMap<string, number>, fresh: ReadonlyMap<string, string>) => {
    const golden = inSet(stationId);
    const perClass = new Map<string, number>();
    for (const classId of fresh.values()) perClass.set(classId, (perClass.get(classId) ?? 0) + 1);
    return new Map(
      [...labelled].map(([classId, all]): [string, ClassCount] => {
        const own = perClass.get(classId) ?? 0;
        return [classId, { fresh: own, learnt: all - own, golden: golden.get(classId) ?? 0 }];
      }),
    );
  };

  const show = (stationId: string): MethodOutput<'golden.filling'> => {
    const labelled = new Map(store.labels.perClass(stationId).map((row) => [row.classId, row.labelled]));
    const counts = countsOf(stationId, labelled, freshOf(stationId));
    const most = mostOf(counts);
    return {
      on: isOn(stationId),
      retired: store.golden.retired(stationId).size,
      perClass: [...counts].map(([classId, { fresh, learnt, golden }]) => ({
        classId,
        fresh,
        most: most.get(classId) ?? 0,
        few: fresh + learnt < FEW_PARTS,
        golden,
      })),
    };
  };

  const turn: GoldenFilling['turn'] = (stationId, on) => store.settings.set(keyOf(stationId), on);

  return {
    turn,
    async choose(job, station, samples, others) {
      if (!isOn(station.id)) return NOTHING;
      const unlearnt = freshOf(station.id);
      const fresh = new Map<string, LabelledImage>();
      const taught = new Map(others.map((sha) => [sha, store.images.pathOf(sha)]));
      for (const sample of samples) {
        if (unlearnt.has(sample.sha)) fresh.set(sample.sha, sample);
        else taught.set(sample.sha, sample.file);
      }
      const classOf = new Map([...fresh].map(([sha, { classId }]) => [sha, classId]));
      const most = mostOf(countsOf(station.id, picturesPerClass(samples), classOf));
      if (![...most.values()].some((count) => count > 0)) return NOTHING;
      job.progress(0, { key: 'golden.share', details: {} });
      const { backboneId, recipe } = station;
      const { drawn } = await withTrainer(context, job, (trainer) =>
        trainer.call(
          'trainer.goldenShare',
          {
            maxPixels: recipe.maxPixels,
            fresh: [...fresh.values()].map(({ sha, file, classId }) => ({ sha, file, classId })),
            taught: [...taught].map(([sha, file]) => ({ sha, file, row: store.features.rowOfImage(backboneId, sha) })),
            golden: goldenImages(store, station.id).map(({ sha, classId, look }) => ({ sha, classId, look })),
            most: [...most].map(([classId, images]) => ({ classId, images })),
            featureFile: featureFileOf(store.home, backboneId),
          },
          { signal: job.signal },
        ),
      );
      return new Map(drawn.map(({ sha, look }) => [sha, { classId: fresh.get(sha)!.classId, look }]));
    },

    take(stationId, withheld, by) {
      const taken = [...withheld].flatMap(([sha, { classId, look }]) => {
        const label = store.labels.get(stationId, sha);
        return label?.classId === classId && !isDisputed(label)
          ? [{ sha, classId, look, label, ...store.parts.imageSize(sha) }]
          : [];
      });
      if (taken.length === 0) return 0;
      for (const { sha } of taken) store.labels.remove(stationId, sha);
      store.golden.add(stationId, taken, by);
      store.audit.append({
        user: by.userName,
        action: 'golden.fill',
        subject: stationId,
        details: { images: taken.map(({ sha, classId, label }) => ({ image: sha, classId, part: label.partId })) },
      });
      return taken.length;
    },

    handlers: {
      'golden.filling': async ({ stationId }) => show(stationId),
      async 'golden.setFilling'({ stationId, on }, session) {
        store.stations.get(stationId);
        const before = isOn(stationId);
        store.transaction(() => {
          turn(stationId, on);
          store.audit.append({
            user: actor(session),
            action: 'golden.setFilling',
            subject: stationId,
            details: { before, after: on },
          });
        });
        return show(stationId);
      },
    },
  };
};
