import { byCodeUnit } from '../learning/dataset.ts';
import { readLooks } from '../learning/feature-rows.ts';
import { nearDuplicateGroups, NO_LOOK } from '../learning/near-duplicates.ts';
import type { Label } from '../store/labels.ts';
import type { CoreContext, HandlersOf } from './context.ts';
import { featureFileOf } from './feature-file.ts';

/** Newest labels that are compared: tenths of a second at most, also where every picture is like every other. */
const COMPARED_AT_MOST = 5_000;
/** Pictures of one group that are listed: what lies beyond them comes up when these are decided on. */
const LISTED_OF_A_GROUP = 60;

const classesIn = (labels: readonly Label[]): number => new Set(labels.map(({ classId }) => classId)).size;
const byClassAndAge = (a: Label, b: Label): number =>
  byCodeUnit(a.classId, b.classId) || byCodeUnit(a.at, b.at) || a.partId - b.partId;

/**
 * Labelled pictures that look almost the same, for a person to look through: copies that teach twice, and copies under different classes. By the
 * hashes that updates kept beside the features; near is what folds call near (learning/near-duplicates.ts).
 */
export const createNearDuplicateService = ({
  store,
}: CoreContext): { handlers: HandlersOf<'labels.nearDuplicates'> } => ({
  handlers: {
    async 'labels.nearDuplicates'({ stationId, limit }) {
      const { backboneId } = store.stations.get(stationId);
      const labelled = store.labels.perClass(stationId).reduce((sum, row) => sum + row.labelled, 0);
      const extracted = store.labels
        .recent(stationId, { limit: COMPARED_AT_MOST })
        .map((label) => ({ label, row: store.features.rowOfImage(backboneId, label.imageSha) }))
        .filter(({ row }) => row >= 0);
      const looks = await readLooks(
        featureFileOf(store.home, backboneId),
        extracted.map(({ row }) => row),
      );
      const compared = extracted
        .map(({ label }, i) => ({ label, sha: label.imageSha, look: looks[i]! }))
        .filter(({ look }) => look !== NO_LOOK);
      const names = nearDuplicateGroups(compared);
      const groups = [...Map.groupBy(compared.keys(), (i) => names[i]!).values()]
        .filter((indices) => indices.length > 1)
        .map((indices) => indices.map((i) => compared[i]!.label).sort(byClassAndAge))
        .sort((a, b) => Number(classesIn(b) > 1) - Number(classesIn(a) > 1) || b.length - a.length);
      return {
        compared: compared.length,
        notCompared: labelled - compared.length,
        total: groups.length,
        groups: groups.slice(0, limit).map((labels) => ({
          size: labels.length,
          parts: labels
            .slice(0, LISTED_OF_A_GROUP)
            .map(({ partId, imageSha, classId, at }) => ({ partId, imageSha, classId, at })),
        })),
      };
    },
  },
});
