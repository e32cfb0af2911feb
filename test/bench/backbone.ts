import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Backbone } from '../../main/contract/domain.ts';
import { importBackbone } from '../../main/learning/backbone-file.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';

/** `shipped`, or a file of `models` (MEKIKI_MODELS) by its name without ending. */
export const backboneNamed = (name: string, models: string, threads: number): Promise<Backbone> =>
  name === 'shipped'
    ? ensureShippedBackbone()
    : importBackbone(join(models, `${basename(name)}.onnx`), { folder: join(tmpdir(), 'mekiki-backbones'), threads });
