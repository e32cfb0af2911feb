import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { activeFileName, activeFolder, signActive, type ActiveModel } from '../../main/audit/activation.ts';
import { bundleDigest, createUserKey, signApproval, unlockUserKey } from '../../main/audit/approval.ts';
import { createRootKey, issueCertificate, openRootKey } from '../../main/audit/keys.ts';
import {
  lineSettingsSchema,
  stationSchema,
  type LineStatus,
  type ModelCard,
  type Station,
} from '../../main/contract/domain.ts';
import type { AppError } from '../../main/contract/errors.ts';
import type { LineRecord } from '../../main/contract/line.ts';
import { silentLog, type LogFields } from '../../main/contract/log.ts';
import { createLine, type EmitLineEvent, type LineOptions } from '../../main/host/line/line.ts';
import { SMALL_COST } from '../helpers/password-cost.ts';
import { brightnessModel, type SmallModel } from '../helpers/small-models.ts';

/** A home with real keys, in which bundles can be approved and activated as the core does it. */
export interface LineHome extends Disposable {
  home: string;
  /** Signs that these of the station's bundles may inspect now: one, or the two of an exchange. */
  activate(stationId: string, ...ids: string[]): void;
  /** Approved ones are active as they are made: the newest two of a station. */
  bundle(id: string, options?: { approve?: boolean; stationId?: string; model?: SmallModel }): Promise<string>;
}

export const STATION = 'st-1';

export async function createLineHome({ demo = false } = {}): Promise<LineHome> {
  const home = mkdtempSync(join(tmpdir(), 'mekiki-line-'));
  mkdirSync(join(home, 'trust'));
  const root = openRootKey(createRootKey());
  writeFileSync(join(home, 'trust', 'root.pub'), root.publicKey);
  writeFileSync(join(home, 'mekiki.json'), JSON.stringify({ format: 1, demo, createdAt: new Date().toISOString() }));
  const key = await createUserKey('password of the supervisor', SMALL_COST);
  const privateKey = await unlockUserKey(key.lockedPrivateKey, 'password of the supervisor');
  const certificate = issueCertificate(
    {
      userId: 'u1',
      userName: 'Sato',
      role: 'supervisor',
      publicKey: key.publicKey,
      demo,
      issuedAt: new Date().toISOString(),
    } as Parameters<typeof issueCertificate>[0],
    root,
  );
  const approved = new Map<string, ActiveModel[]>();
  const sign = (stationId: string, models: ActiveModel[]): void => {
    mkdirSync(activeFolder(home), { recursive: true });
    const text = signActive({ stationId, models, by: 'Sato', at: new Date().toISOString() }, root.privateKey);
    writeFileSync(join(activeFolder(home), activeFileName(stationId)), text);
  };
  return {
    home,
    activate: (stationId, ...ids) =>
      sign(
        stationId,
        approved.get(stationId)!.filter(({ candidateId }) => ids.includes(candidateId)),
      ),
    async bundle(id, { approve = true, stationId = STATION, model = brightnessModel({ id, demo, stationId }) } = {}) {
      const bundleDir = join(home, 'bundles', id);
      mkdirSync(bundleDir, { recursive: true });
      const card: ModelCard = { ...model.card, id };
      writeFileSync(join(bundleDir, 'model.onnx'), model.bytes);
      writeFileSync(join(bundleDir, 'model.json'), JSON.stringify(card));
      writeFileSync(join(bundleDir, 'evidence.json'), '{}');
      if (approve) {
        const bundleSha256 = await bundleDigest(bundleDir);
        await signApproval({
          bundleDir,
          candidateId: id,
          stationId,
          demo,
          meaning: 'approved for the test',
          waiver: null,
          at: new Date(),
          certificate,
          privateKey,
          bundleSha256,
        });
        const models = [...(approved.get(stationId) ?? []), { candidateId: id, bundleSha256 }];
        approved.set(stationId, models);
        sign(stationId, models.slice(-2));
      }
      return bundleDir;
    },
    [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }),
  };
}

/** What a test leaves open of how its line runs. No part is late here because the machine has other work; who tests lateness says when. */
export const lineSettings = (over: object = {}): Station['line'] =>
  lineSettingsSchema.parse({ deadlineMs: 60_000, ...over });

export const lineStation = (camera: unknown, over: Partial<Station> = {}): Station =>
  stationSchema.parse({
    id: STATION,
    name: 'Station 1',
    camera,
    recipe: {},
    criteria: {},
    backboneId: 'b',
    threads: 1,
    activeModelId: null,
    line: lineSettings(),
    ...over,
  });

/** A line with what it emitted. */
export function listenedLine(options: Pick<LineOptions, 'openFeed' | 'cameraMs'> = {}) {
  const records: LineRecord[] = [];
  const states: LineStatus[] = [];
  /** Codes of all problems as they came, also of those that were over before anybody could look at the status. */
  const problemsLogged: unknown[] = [];
  const emit: EmitLineEvent = (event, payload) => {
    if (event === 'line.recorded') records.push(...(payload as { records: LineRecord[] }).records);
    else states.push(payload as LineStatus);
  };
  const warn = (message: string, fields?: LogFields) => {
    if (message === 'line problem') problemsLogged.push(fields?.['code']);
  };
  const line = createLine({ emit, log: { ...silentLog, warn }, ...options });
  const signal = new AbortController().signal;
  return {
    records,
    states,
    problemsLogged,
    line,
    configure: (
      home: string,
      station: Station,
      bundleDir: string | null,
      acknowledged = 0,
      keepOkImages: number | null = null,
      classCodes: Record<string, number> = {},
    ) =>
      line['line.configure'](
        { home, station, bundleDir, acknowledged, keepOkImages, classCodes },
        null,
        signal,
      ) as Promise<LineStatus>,
    start: () => line['line.start']({}, null, signal) as Promise<LineStatus>,
    stop: () => line['line.stop']({}, null, signal) as Promise<LineStatus>,
    activate: (bundleDir: string) => line['line.activate']({ bundleDir }, null, signal) as Promise<LineStatus>,
    status: () => line['line.status']({}, null, signal) as LineStatus,
    /** null: pictures are stored again. */
    refusePictures: (reason: AppError | null) =>
      line['line.archive']({ refused: reason?.toWire('core') ?? null }, null, signal),
    acknowledge: (seq: number) => line['line.acknowledge']({ seq }, null, signal),
  };
}

export async function until(what: string, holds: () => boolean, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
