import type { CameraConfig, Criteria, Recipe, Station, Surface } from '../../../main/contract/domain.ts';
import { recipeDraftOf, recipeInput, type RecipeDraft } from './recipe-draft.ts';
import { usbDraftOf, usbInput, type UsbDraft } from './usb-draft.ts';
import { lineDraftOf, lineInput, type LineDraft } from './line-draft.ts';
import { same, typedOnto } from './typed-onto.ts';
import type { MethodInput } from '../../../main/contract/methods.ts';

/** A station as a form holds it: shares in per cent, all kinds of camera at once. */
export interface StationDraft {
  name: string;
  kind: CameraConfig['kind'];
  surface: Surface;
  seed: number;
  partsPerMinute: number;
  defectPercent: number;
  newDefectAfterS: number;
  path: string;
  after: 'leave' | 'move';
  serial: string;
  address: string;
  /** null: as the camera has it. */
  exposureUs: number | null;
  gain: number | null;
  usb: UsbDraft;
  recipe: RecipeDraft;
  maxEscapePercent: number;
  maxOverkillPercent: number;
  maxLatencyMsP99: number;
  maxDropPp: number;
  revalidateDays: number;
  line: LineDraft;
}

/** 0.07 as 7, not 7.000000000000001. */
const percent = (share: number): number => Number((100 * share).toFixed(4));

export function draftOf(station: Station | null): StationDraft {
  const simulated = station?.camera.kind === 'simulated' ? station.camera : null;
  const folder = station?.camera.kind === 'folder' ? station.camera : null;
  const gige = station?.camera.kind === 'gige' ? station.camera : null;
  return {
    name: station?.name ?? '',
    kind: station?.camera.kind ?? 'simulated',
    surface: simulated?.surface ?? 'brushed-metal',
    seed: simulated?.seed ?? 1,
    partsPerMinute: simulated?.partsPerMinute ?? 60,
    defectPercent: percent(simulated?.defectShare ?? 0.15),
    newDefectAfterS: simulated?.newDefectAfterS ?? 120,
    path: folder?.path ?? '',
    after: folder?.after ?? 'leave',
    serial: gige?.serial ?? '',
    address: gige?.address ?? '',
    exposureUs: gige?.exposureUs ?? null,
    gain: gige?.gain ?? null,
    usb: usbDraftOf(station?.camera),
    recipe: recipeDraftOf(station),
    maxEscapePercent: percent(station?.criteria.maxEscape ?? 0.05),
    maxOverkillPercent: percent(station?.criteria.maxOverkill ?? 0.1),
    maxLatencyMsP99: station?.criteria.maxLatencyMsP99 ?? 50,
    maxDropPp: station?.criteria.maxDropPp ?? 1,
    revalidateDays: station?.criteria.revalidateDays ?? 90,
    line: lineDraftOf(station),
  };
}

const nothing = { trigger: undefined, pixelFormat: undefined, packetSizeLimit: undefined };

/** What a form does not show (image size, drift, polling) keeps the station's value. */
export function cameraInput(
  draft: StationDraft,
  before: CameraConfig | undefined,
): MethodInput<'stations.add'>['camera'] {
  const { kind, surface, seed, partsPerMinute, newDefectAfterS, path, after } = draft;
  switch (kind) {
    case 'simulated':
      return {
        ...(before?.kind === 'simulated' ? before : {}),
        kind,
        surface,
        seed,
        partsPerMinute,
        newDefectAfterS,
        defectShare: draft.defectPercent / 100,
      };
    case 'folder':
      return { ...(before?.kind === 'folder' ? before : {}), kind, path, after };
    case 'gige': {
      const { trigger, pixelFormat, packetSizeLimit } = before?.kind === 'gige' ? before : nothing;
      const serial = draft.serial.trim();
      const address = draft.address.trim();
      return {
        kind,
        ...(serial === '' ? {} : { serial }),
        ...(address === '' ? {} : { address }),
        ...(draft.exposureUs === null ? {} : { exposureUs: draft.exposureUs }),
        ...(draft.gain === null ? {} : { gain: draft.gain }),
        ...(trigger === undefined ? {} : { trigger }),
        ...(pixelFormat === undefined ? {} : { pixelFormat }),
        ...(packetSizeLimit === undefined ? {} : { packetSizeLimit }),
      };
    }
    case 'usb':
      return usbInput(draft.usb, before);
  }
}

/** The draft after the station has changed: what was typed into it since `before` stays, every other field is that of `now`. */
export const followStation = (draft: StationDraft, before: StationDraft, now: StationDraft): StationDraft => ({
  ...typedOnto(draft, before, now),
  usb: typedOnto(draft.usb, before.usb, now.usb),
  recipe: typedOnto(draft.recipe, before.recipe, now.recipe),
  line: typedOnto(draft.line, before.line, now.line),
});

/** What a draft changes of the station that it was made of: the rest may be somebody else's change that has not been heard of yet. */
export function stationChanges(
  draft: StationDraft,
  opened: Station,
): Omit<MethodInput<'stations.update'>, 'stationId'> {
  const before = new Map<string, unknown>(Object.entries(stationInput(draftOf(opened), opened)));
  return Object.fromEntries(
    Object.entries(stationInput(draft, opened)).filter(([key, value]) => !same(value, before.get(key))),
  );
}

export function stationInput(
  draft: StationDraft,
  station: Station | null,
): MethodInput<'stations.add'> & { recipe: Recipe } {
  const camera = cameraInput(draft, station?.camera);
  const criteria: Criteria = {
    maxEscape: draft.maxEscapePercent / 100,
    maxOverkill: draft.maxOverkillPercent / 100,
    maxLatencyMsP99: draft.maxLatencyMsP99,
    maxDropPp: draft.maxDropPp,
    revalidateDays: draft.revalidateDays,
  };
  return {
    name: draft.name.trim(),
    camera,
    recipe: recipeInput(draft.recipe, station),
    criteria,
    ...lineInput(draft.line, station),
  };
}
