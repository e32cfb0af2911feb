import type { Golden } from '../store/golden.ts';
import type { Store } from '../store/open.ts';
import { mergedInto } from './class-successors.ts';

/** The set that judges. A golden image is locked under the class that it came with: this is the class that it shows now. */
export const goldenImages = (
  { audit, golden }: Pick<Store, 'audit' | 'golden'>,
  stationId: string,
): ReturnType<Golden['list']> => {
  const now = new Map<string, string>();
  return golden.list(stationId).map((image) => {
    const classId = now.get(image.classId) ?? mergedInto({ audit }, image.classId);
    now.set(image.classId, classId);
    return { ...image, classId };
  });
};
