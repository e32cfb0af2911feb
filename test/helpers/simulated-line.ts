import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Judgement, Surface } from '../../main/contract/domain.ts';
import { renderDataset, renderPart } from '../../main/capture/simulated/render.ts';
import { plannedDefect, type SimulatedConfig } from '../../main/capture/simulated/camera.ts';
import { openInspector } from '../../main/inspection/inspector.ts';
import { assembleInspector } from '../../main/learning/assemble.ts';
import { openProducts } from '../../main/learning/dense.ts';
import { openExtractor } from '../../main/learning/extract.ts';
import { solveKnowledge } from '../../main/learning/knowledge.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';

/* A simulated line with a real model: rendered parts, the shipped backbone, a head learnt from labelled parts, the line's own inspector. */

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

export interface LineOptions {
  surface: Surface;
  seed: number;
  /** Labelled parts per class. */
  perClass: number;
  /** Side of a frame, pixels. */
  size: number;
  defectShare: number;
  threads?: number;
}

export interface SimulatedLine extends AsyncDisposable {
  /** The part with this number, judged. `late`: the class that nobody has labelled has appeared. */
  inspect(index: number, change?: { light?: number; late?: boolean }): Promise<Judgement>;
}

export async function openSimulatedLine(options: LineOptions): Promise<SimulatedLine> {
  const { surface, seed, perClass, size, defectShare, threads = 2 } = options;
  const backbone = await ensureShippedBackbone();
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  await using extractor = await openExtractor(backbone, { threads });
  await using products = openProducts({ threads });
  const parts = [...renderDataset({ surface, seed, perClass, width: size, height: size })];
  const { knowledge } = await solveKnowledge(
    {
      features: await extractor.run(parts.map(({ image }) => ({ image, region: null }))),
      stages,
      ledger: parts.map(({ className, index }) => ({ classId: className, sha: sha256(`${className} ${index}`) })),
      okIds: new Set(['ok']),
      criteria: { maxEscape: 0.05, maxOverkill: 0.1 },
    },
    { products },
  );

  const model = assembleInspector({ model: await readFile(backbone.file), backbone, knowledge });
  const inspector = await openInspector({
    model,
    card: {
      format: 1,
      id: 'm-simulated',
      createdAt: '2026-01-01T00:00:00.000Z',
      demo: true,
      stationId: null,
      backboneId: backbone.id,
      backboneSha256: backbone.sha256,
      knowledgeId: null,
      modelSha256: sha256(model),
      inputSize: backbone.inputSize,
      mean: backbone.mean,
      std: backbone.std,
      classes: knowledge.classes.map(({ classId }) => ({
        id: classId,
        names: { en: classId, ja: classId },
        isOk: classId === 'ok',
      })),
      temperature: knowledge.temperature,
      thresholds: knowledge.thresholds,
      strategy: 'none',
      precision: 'fp32',
      recipe: null,
    },
    threads,
  });
  const config: SimulatedConfig = {
    kind: 'simulated',
    surface,
    seed,
    partsPerMinute: 60,
    width: size,
    height: size,
    defectPx: null,
    defectShare,
    newDefectAfterS: 1e12,
    lightDriftPer1000: 0,
  };
  return {
    inspect(index, { light = 1, late = false } = {}) {
      const defect = plannedDefect({ ...config, newDefectAfterS: late ? 0 : 1e12 }, index);
      return inspector.inspect(renderPart({ surface, seed, index, defect, width: size, height: size, light }).image);
    },
    [Symbol.asyncDispose]: () => inspector.dispose(),
  };
}
