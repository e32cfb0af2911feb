import type { BackboneSources } from './backbones.ts';
import type { RenderDemoImages } from './demo.ts';

/** What the program brings along. Loaded on use: the core starts without ONNX and without a renderer. */
export const shippedSources = (): { backbones: BackboneSources; renderDemoImages: RenderDemoImages } => ({
  backbones: {
    async shipped() {
      const { ensureShippedBackbone } = await import('../../native-models/shipped.ts');
      return ensureShippedBackbone();
    },
    async earlier(id) {
      const { earlierShipped, ensureShippedBackbone } = await import('../../native-models/shipped.ts');
      return (await earlierShipped()).includes(id) ? ensureShippedBackbone(undefined, id) : null;
    },
    async take(file, options) {
      const { importBackbone } = await import('../learning/backbone-file.ts');
      return importBackbone(file, options);
    },
    async read(folder, id) {
      const { readImportedBackbone } = await import('../learning/backbone-file.ts');
      return readImportedBackbone(folder, id);
    },
  },
  async renderDemoImages({ surface, seed, width, height }, perClass) {
    const { defectClassesOf, okNamesOf, renderDataset } = await import('../capture/simulated/render.ts');
    const early = defectClassesOf(surface).filter((defect) => !defect.late);
    const classes = [{ className: 'ok', names: okNamesOf(surface) }, ...early];
    // The line's own seed: the same material, other parts (their numbers come from the class).
    const images = renderDataset({ surface, seed, perClass, width, height });
    return { classes, total: classes.length * perClass, images };
  },
});
