import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { build } from 'esbuild';

/**
 * The bundle of tfjs-core that Node loads holds no gradient functions; they lie beside it as modules for bundlers. They are bundled here and
 * loaded: their registry and engine are shared through the global object.
 */
export async function loadTfjsWithGradients(): Promise<typeof tf> {
  const folder = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-core'));
  const bundle = await build({
    entryPoints: [join(folder, 'register_all_gradients.js')],
    bundle: true,
    format: 'esm',
    platform: 'node',
    write: false,
    logLevel: 'silent',
  });
  const code = Buffer.from(bundle.outputFiles[0]!.contents).toString('base64');
  await import(/* @vite-ignore */ `data:text/javascript;base64,${code}`);
  await tf.setBackend('cpu');
  return tf;
}
