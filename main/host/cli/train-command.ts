import { dirname, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { requirePlace, writeModelOut } from '../../compression/model-out.ts';
import { scanDataset, type DatasetImage } from '../../learning/dataset.ts';
import { normalisationOf } from '../../onnx/index.ts';
import type { TrainingEngine } from '../../training/engine.ts';
import { fineTune, fineTuneDefaults } from '../../training/fine-tune.ts';
import { trainableBackbone } from '../../training/head.ts';
import { createOrtEngine } from '../../training/ort/engine.ts';
import { progressLine } from '../../training/progress.ts';
import { BACKBONE_OPTION, resolveBackbone } from './backbone-option.ts';
import { wholeNumber, type Action, type Context } from './context.ts';
import { format, readyFolder, readyOut, warn } from './output.ts';

interface TrainCommandOptions {
  backbone?: string;
  epochs: number;
  size?: number;
  batch: number;
  seed: number;
  classes?: number;
  engine: 'ort' | 'tfjs';
  tfjsNodeFolder?: string;
  headOnly?: boolean;
  checkpoint?: string;
  out?: string;
}

/** @param steps all of them, for the time left that a slow engine tells before it starts. */
async function openEngine(options: TrainCommandOptions, context: Context, steps: number): Promise<TrainingEngine> {
  if (options.engine === 'ort') return createOrtEngine();
  const { createTfjsEngine } = await import('../../training/tfjs/engine.ts');
  return createTfjsEngine({
    steps,
    ...(options.tfjsNodeFolder === undefined ? {} : { tfjsNodeFolder: resolve(options.tfjsNodeFolder) }),
    onEstimate: ({ backend, secondsPerStep, secondsLeft }) => {
      const whole = secondsLeft === null ? '' : `, about ${Math.ceil(secondsLeft / 60)} min in all`;
      process.stderr.write(`TensorFlow.js (${backend}): about ${secondsPerStep.toFixed(1)} s per step${whole}\n`);
    },
  });
}

/** `train`: fine-tunes a backbone on a folder of images. */
export function addTrainCommand(program: Command, action: Action): void {
  program
    .command('train <dir>')
    .description('fine-tune a backbone on <dir>/train/<class>/*, tested on <dir>/test/<class>/* after every epoch')
    .option(...BACKBONE_OPTION)
    .requiredOption('--epochs <n>', 'times through the images', wholeNumber(1, 10_000))
    .option('--size <px>', "side of the network's input (default: the backbone's)", wholeNumber(16, 2048))
    .option('--batch <n>', 'images per step', wholeNumber(1, 1024), fineTuneDefaults.batch)
    .option('--seed <s>', 'of order and augmentation', wholeNumber(0, 2 ** 31), 0)
    .option('--classes <n>', 'the first n classes in name order only', wholeNumber(2, 10_000))
    .addOption(new Option('--engine <name>').choices(['ort', 'tfjs']).default('ort'))
    .option('--tfjs-node-folder <dir>', 'with --engine tfjs: a folder with the package @tensorflow/tfjs-node 4.22')
    .option('--head-only', 'leave the backbone as it is')
    .option('--checkpoint <file>', 'go on from it, and write it now and then')
    .option('--out <file>', 'write the trained ONNX model there')
    .action(
      action(async (context: Context, dir: string, options: TrainCommandOptions) => {
        const { signal, threads, out } = context;
        const file = options.out === undefined ? null : resolve(options.out);
        if (file !== null) await readyOut(file);
        const checkpointFile = options.checkpoint === undefined ? null : resolve(options.checkpoint);
        if (checkpointFile !== null) await readyFolder(dirname(checkpointFile), '--checkpoint');
        const found = await resolveBackbone(options.backbone, context);
        const normalisation = normalisationOf(found);
        if (file !== null) await requirePlace(file, normalisation);
        const backbone = trainableBackbone(found);
        const dataset = await scanDataset(resolve(dir), { signal });
        const classes = dataset.classes.slice(0, options.classes ?? dataset.classes.length);
        const labelled = (images: readonly DatasetImage[]) =>
          images.flatMap(({ file, name, className }) => {
            const label = classes.indexOf(className);
            return label < 0 ? [] : [{ file, name, label }];
          });
        const train = labelled(dataset.train);
        const steps = options.epochs * Math.ceil(train.length / options.batch);
        const result = await fineTune({
          backbone,
          classes,
          train,
          test: labelled(dataset.test),
          engine: await openEngine(options, context, steps),
          epochs: options.epochs,
          threads,
          seed: options.seed,
          batch: options.batch,
          trainBody: options.headOnly !== true,
          signal,
          onProgress: (progress) => out.progress(progressLine(progress)),
          onEpoch: ({ loss, accuracy, balancedAccuracy }, epoch) =>
            process.stderr.write(
              `epoch ${epoch}: loss ${loss.toFixed(4)}, accuracy ${format.percent(accuracy)}, balanced ${format.percent(balancedAccuracy)}\n`,
            ),
          onWarning: (error) => warn(error.message),
          ...(options.size === undefined ? {} : { size: options.size }),
          ...(checkpointFile === null ? {} : { checkpointFile }),
        });
        const { model, epochs, skipped, ...facts } = result;
        if (file !== null) writeModelOut(file, model, normalisation);
        const document = {
          epochs,
          classes,
          backbone: backbone.name,
          normalisation,
          engine: options.engine,
          threads,
          batch: options.batch,
          seed: options.seed,
          ...facts,
          out: file,
          skipped: [...dataset.skipped, ...skipped],
        };
        out.result(document, (d) =>
          format.table([
            ['epoch', 'loss', 'accuracy', 'balanced', 's'],
            ...d.epochs.map(({ loss, accuracy, balancedAccuracy, seconds }, i) => [
              i + 1,
              loss.toFixed(4),
              format.percent(accuracy),
              format.percent(balancedAccuracy),
              seconds.toFixed(1),
            ]),
          ]),
        );
      }),
    );
}
