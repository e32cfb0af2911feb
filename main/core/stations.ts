import { randomUUID } from 'node:crypto';
import {
  criteriaSchema,
  recipeSchema,
  stationSchema,
  type CameraConfig,
  type LineOutput,
  type Station,
} from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { HandlerInput } from '../contract/methods.ts';
import { decodeImage } from '../vision/decode.ts';
import { teachTemplate } from '../vision/find-part.ts';
import { rotate, turnRegion } from '../vision/tiles.ts';
import type { TurnBox } from '../store/labels.ts';
import { checkClientPlaces, layOut } from '../lineio/register-map.ts';
import type { Backbones } from './backbones.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Lines } from './lines.ts';
import { refuseInHome } from './outside.ts';

export interface StationService {
  handlers: HandlersOf<'stations.list' | 'stations.add' | 'stations.update' | 'stations.teachPart'>;
  /** Puts a station into the store, within the caller's transaction. */
  insert(station: NewStation, by: string): Station;
}

interface NewStation {
  name: string;
  camera: CameraConfig;
  backboneId: string;
  recipe?: Station['recipe'] | undefined;
  criteria?: Station['criteria'] | undefined;
  threads?: number | undefined;
  line?: Station['line'] | undefined;
  lineOutput?: Station['lineOutput'] | undefined;
}

export const createStationService = (context: CoreContext, backbones: Backbones, lines: Lines): StationService => {
  const { store } = context;

  /** @throws INVALID_INPUT for a register map that cannot be, DEMO_FORBIDS: a demo drives no equipment */
  const checked = (output: LineOutput): LineOutput => {
    if (output.kind === 'none') return output;
    if (store.demo) throw new AppError('DEMO_FORBIDS', { what: 'a line output' });
    const layout = layOut(output.addresses);
    if (output.kind === 'modbus-client') checkClientPlaces(layout, output);
    return output;
  };

  /** A watched folder whose files are moved away is not the program's own. INVALID_INPUT */
  const refuseOwn = async (camera: CameraConfig | undefined): Promise<void> => {
    if (camera?.kind !== 'folder') return;
    for (const folder of [camera.path, camera.moveTo ?? camera.path]) await refuseInHome(store.home, folder);
  };

  const insert: StationService['insert'] = (wanted, by) => {
    const station = stationSchema.parse({
      id: `st-${randomUUID().slice(0, 8)}`,
      name: wanted.name,
      camera: wanted.camera,
      recipe: wanted.recipe ?? recipeSchema.parse({}),
      criteria: wanted.criteria ?? criteriaSchema.parse({}),
      backboneId: wanted.backboneId,
      ...(wanted.threads !== undefined && { threads: wanted.threads }),
      activeModelId: null,
      ...(wanted.line !== undefined && { line: wanted.line }),
      ...(wanted.lineOutput !== undefined && { lineOutput: checked(wanted.lineOutput) }),
    });
    store.transaction(() => {
      store.stations.insert(station, context.now());
      store.audit.append({ user: by, action: 'stations.add', subject: station.id, details: { name: station.name } });
    });
    return station;
  };

  /** What was marked stays marked: the boxes of labels lie in the frame as the station turns it. */
  const turnBoxes = ({ id, recipe: { rotation } }: Station, before: Station['recipe']['rotation']): void => {
    if (rotation === before) return;
    const turn: TurnBox = (box, sha) => turnRegion(box, store.parts.imageSize(sha), before, rotation);
    store.labels.turnBoxes(id, turn);
    store.golden.turnBoxes(id, turn);
  };

  /** What of the input is set, and not as it was. */
  const changesOf = (before: Station, wanted: HandlerInput<'stations.update'>): Partial<Station> =>
    Object.fromEntries(
      Object.entries(wanted).filter(
        ([key, value]) =>
          key !== 'stationId' &&
          value !== undefined &&
          JSON.stringify(value) !== JSON.stringify(before[key as keyof Station]),
      ),
    );

  return {
    insert,
    handlers: {
      async 'stations.teachPart'({ stationId, partId, region, rotation }) {
        const { recipe } = store.stations.get(stationId);
        const sha = partId === undefined ? store.parts.archived(stationId, 1)[0] : store.parts.get(partId).imageSha;
        if (!sha) throw new AppError('NOT_FOUND', { kind: 'picture of station', id: stationId });
        const { image } = await decodeImage(store.images.pathOf(sha), { name: sha, maxPixels: recipe.maxPixels });
        return teachTemplate(rotate(image, rotation ?? recipe.rotation), region);
      },
      'stations.list': async () => store.stations.list(),
      async 'stations.add'(input, session) {
        await refuseOwn(input.camera);
        const backbone =
          input.backboneId === undefined ? await backbones.shipped() : await backbones.get(input.backboneId);
        const station = insert({ ...input, backboneId: backbone.id }, actor(session));
        context.emit('stations.changed', {});
        return station;
      },
      async 'stations.update'(input, session) {
        store.stations.get(input.stationId);
        await refuseOwn(input.camera);
        if (input.backboneId !== undefined) await backbones.get(input.backboneId);
        if (input.lineOutput !== undefined) checked(input.lineOutput);
        // After all that waits: another window's change in the meantime stays.
        const before = store.stations.get(input.stationId);
        const changes = changesOf(before, input);
        const keys = Object.keys(changes) as (keyof Station)[];
        if (keys.length === 0) return before;
        store.transaction(() => {
          const after = { ...before, ...changes };
          store.stations.update(after);
          turnBoxes(after, before.recipe.rotation);
          store.audit.append({
            user: actor(session),
            action: 'stations.update',
            subject: before.id,
            details: { before: Object.fromEntries(keys.map((key) => [key, before[key]])), changes },
          });
        });
        context.emit('stations.changed', {});
        // A name is no reason to stop a line, and the active model brings its own backbone.
        if (keys.some((key) => !['name', 'backboneId'].includes(key))) await lines.reconfigure(before.id);
        return store.stations.get(before.id);
      },
    },
  };
};
