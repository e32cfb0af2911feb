import type { LineOutput, LineSettings, Station } from '../../../main/contract/domain.ts';

/** How a station's line runs and tells, as a form holds it: all kinds of line output at once, null for an empty field. */
export interface LineDraft {
  source: LineSettings['trigger']['source'];
  minSpacingMs: number | null;
  debounceMs: number | null;
  framesPerPart: number | null;
  frameRule: LineSettings['frames']['rule'];
  frameSpacingMs: number | null;
  deadlineMs: number | null;
  dropPolicy: LineSettings['dropPolicy'];
  darkBelow: number | null;
  saturatedPercent: number | null;
  sharpnessBelow: number | null;
  output: LineOutput['kind'];
  address: string;
  port: number;
  /** Separated by spaces or commas. */
  peers: string;
  acknowledgeTimeoutMs: number;
  /** Of a PLC that only serves. */
  answerTimeoutMs: number;
  /** null: a silent PLC is not noticed. */
  peerTimeoutMs: number | null;
  unsureAs: 'ng' | 'apart';
}

export function lineDraftOf(station: Station | null): LineDraft {
  const line = station?.line;
  const output = station?.lineOutput.kind === 'none' ? undefined : station?.lineOutput;
  return {
    source: line?.trigger.source ?? 'free-run',
    minSpacingMs: line?.trigger.minSpacingMs ?? 0,
    debounceMs: line?.trigger.debounceMs ?? 0,
    framesPerPart: line?.frames.perPart ?? 1,
    frameRule: line?.frames.rule ?? 'worst-of',
    frameSpacingMs: line?.frames.spacingMs ?? 0,
    deadlineMs: line?.deadlineMs ?? null,
    dropPolicy: line?.dropPolicy ?? 'drop-newest',
    darkBelow: line?.picture.darkBelow ?? null,
    saturatedPercent:
      line?.picture.saturatedShareAbove == null ? null : Number((100 * line.picture.saturatedShareAbove).toFixed(4)),
    sharpnessBelow: line?.picture.sharpnessBelow ?? null,
    output: output?.kind ?? 'none',
    address: output?.address ?? '127.0.0.1',
    port: output?.port ?? 502,
    peers: output?.kind === 'modbus-server' ? output.peers.join(' ') : '',
    acknowledgeTimeoutMs: output?.acknowledgeTimeoutMs ?? 2_000,
    answerTimeoutMs: output?.kind === 'modbus-client' ? output.answerTimeoutMs : 1_000,
    peerTimeoutMs: output?.peerTimeoutMs ?? null,
    unsureAs: output?.unsureAs ?? 'ng',
  };
}

/** Input of stations.add and stations.update. What the form does not show (register addresses, polling) keeps the station's value. */
export function lineInput(draft: LineDraft, station: Station | null): { line: LineSettings; lineOutput: LineOutput } {
  const line: LineSettings = {
    trigger: {
      source: draft.source,
      minSpacingMs: draft.minSpacingMs ?? 0,
      debounceMs: draft.debounceMs ?? 0,
    },
    frames: {
      perPart: draft.framesPerPart ?? 1,
      rule: draft.frameRule,
      spacingMs: draft.frameSpacingMs ?? 0,
    },
    deadlineMs: draft.deadlineMs,
    dropPolicy: draft.dropPolicy,
    picture: {
      darkBelow: draft.darkBelow,
      saturatedShareAbove: draft.saturatedPercent === null ? null : draft.saturatedPercent / 100,
      sharpnessBelow: draft.sharpnessBelow,
      frozenAfter: station ? station.line.picture.frozenAfter : 2,
    },
  };
  return { line, lineOutput: outputOf(draft, station?.lineOutput) };
}

/** Whole widths are what a Japanese keyboard types; what is no address the contract refuses. */
const peersOf = (text: string): string[] =>
  text
    .normalize('NFKC')
    .split(/[\s,、]+/)
    .filter(Boolean);

function outputOf(draft: LineDraft, before: LineOutput | undefined): LineOutput {
  if (draft.output === 'none') return { kind: 'none' };
  const common = {
    address: draft.address.trim(),
    port: draft.port,
    acknowledgeTimeoutMs: draft.acknowledgeTimeoutMs,
    resultTimeoutMs: before && before.kind !== 'none' ? before.resultTimeoutMs : 5_000,
    peerTimeoutMs: draft.peerTimeoutMs,
    unsureAs: draft.unsureAs,
    addresses: before && before.kind !== 'none' ? before.addresses : {},
  };
  if (draft.output === 'modbus-server') return { kind: draft.output, ...common, peers: peersOf(draft.peers) };
  const { unit, pollMs, writeCoilsAt, writeRegistersAt } =
    before?.kind === 'modbus-client' ? before : { unit: 1, pollMs: 20, writeCoilsAt: 16, writeRegistersAt: 100 };
  const { answerTimeoutMs } = draft;
  return { kind: draft.output, ...common, unit, pollMs, answerTimeoutMs, writeCoilsAt, writeRegistersAt };
}
