import { z } from 'zod';
import type { Backbone } from '../contract/domain.ts';
import type { Backbones } from './backbones.ts';
import type { CoreContext } from './context.ts';
import { eraseRows, featureFileOf } from './feature-file.ts';

/*
 * Rows of feature files that belong to forgotten images. They are listed in the transaction that forgets the images and leave the list when they are
 * overwritten: neither a power cut nor a disk or backbone that is away keeps them for good.
 */

export interface ForgottenFeatures {
  /** Within the transaction that forgets the images. */
  note(rows: readonly ForgottenRow[]): void;
  /** Of one backbone, before rows are appended: their numbers may be given again. */
  erase(backbone: Backbone): Promise<void>;
  /** Of all backbones, as far as it can be done now; the next start and the next update try again. Never throws. */
  eraseAll(): Promise<void>;
}

const SETTING = 'forgottenFeatures';
const rowsSchema = z.array(z.object({ backboneId: z.string(), row: z.number().int() }));
type ForgottenRow = z.output<typeof rowsSchema>[number];

export const createForgottenFeatures = (
  { store, log }: Pick<CoreContext, 'store' | 'log'>,
  backbones: Pick<Backbones, 'get'>,
): ForgottenFeatures => {
  const listed = (): ForgottenRow[] => rowsSchema.parse(store.settings.get(SETTING) ?? []);

  const erase: ForgottenFeatures['erase'] = async ({ id, features }) => {
    const rows = listed().filter(({ backboneId }) => backboneId === id);
    if (rows.length === 0) return;
    await eraseRows(
      featureFileOf(store.home, id),
      rows.map(({ row }) => row),
      features,
    );
    store.transaction(() =>
      store.settings.set(
        SETTING,
        listed().filter(({ backboneId }) => backboneId !== id),
      ),
    );
  };

  return {
    note(rows) {
      if (rows.length > 0) store.settings.set(SETTING, [...listed(), ...rows]);
    },
    erase,
    async eraseAll() {
      for (const backboneId of new Set(listed().map((row) => row.backboneId))) {
        try {
          await erase(await backbones.get(backboneId));
        } catch (error) {
          log.error('features of forgotten images not overwritten yet', { backboneId, error });
        }
      }
    },
  };
};
