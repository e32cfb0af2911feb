import { resolve } from 'node:path';
import type { Command } from 'commander';
import { evaluateAnomaly } from '../../learning/anomaly/evaluation.ts';
import { measureLabelCurve } from '../../learning/label-curve.ts';
import { findDrift } from '../../learning/monitor/drift.ts';
import { evaluateNovelty } from '../../learning/novelty-evaluation.ts';
import { BACKBONE_OPTION, resolveBackbone } from './backbone-option.ts';
import { wholeNumber, type Action, type Context } from './context.ts';
import { format, tellSkipped } from './output.ts';

/** What the learner knows about what it does not know, measured on a folder of images: no account, no data folder. */
export function addEvaluationCommands(program: Command, action: Action): void {
  const shared = async (context: Context, dir: string, backbone: string | undefined) => ({
    dir: resolve(dir),
    backbone: await resolveBackbone(backbone, context),
    threads: context.threads,
    signal: context.signal,
  });

  program
    .command('novelty <dir>')
    .description('how well a class that was held out of training is told from the known ones')
    .option(...BACKBONE_OPTION)
    .action(
      action(async (context: Context, dir: string, { backbone }: { backbone?: string }) => {
        const result = await evaluateNovelty(await shared(context, dir, backbone));
        tellSkipped(result.skipped);
        context.out.result(result, (r) =>
          format.table([
            ['held out', 'AUROC'],
            ...Object.entries(r.auroc).map(([name, x]) => [name, x.toFixed(3)]),
            ['mean', r.mean.toFixed(3)],
          ]),
        );
      }),
    );

  program
    .command('anomaly <dir>')
    .description('how well defects are told from good parts after learning good parts alone')
    .requiredOption('--ok-class <name>', 'class of the good parts')
    .option(...BACKBONE_OPTION)
    .action(
      action(async (context: Context, dir: string, options: { okClass: string; backbone?: string }) => {
        const result = await evaluateAnomaly({
          ...(await shared(context, dir, options.backbone)),
          okClass: options.okClass,
        });
        tellSkipped(result.skipped);
        context.out.result(result, (r) =>
          format.table([
            ['class', 'AUROC'],
            ...Object.entries(r.perClass).map(([name, x]) => [name, x.toFixed(3)]),
            ['all', r.auroc.toFixed(3)],
          ]),
        );
      }),
    );

  program
    .command('drift <dir>')
    .description('where the pictures of a folder, in name order, leave what those of a reference folder are like')
    .requiredOption('--reference <dir>', 'pictures of the line as it was set up')
    .option(...BACKBONE_OPTION)
    .action(
      action(async (context: Context, dir: string, options: { reference: string; backbone?: string }) => {
        const result = await findDrift({
          ...(await shared(context, dir, options.backbone)),
          reference: resolve(options.reference),
        });
        tellSkipped(result.skipped);
        context.out.result(result, (r) =>
          format.table([['part', 'measure'], ...r.alarms.map(({ index, measure }) => [index, measure])]),
        );
      }),
    );

  program
    .command('label-curve <dir>')
    .description('balanced accuracy against number of labels, in the order of the queue and at random')
    .option(...BACKBONE_OPTION)
    .option('--labels <n>', 'labels of the last point', wholeNumber(10, 100_000), 320)
    .option('--seeds <n>', 'random orders that are averaged', wholeNumber(1, 100), 5)
    .action(
      action(async (context: Context, dir: string, options: { backbone?: string; labels: number; seeds: number }) => {
        const result = await measureLabelCurve({
          ...(await shared(context, dir, options.backbone)),
          labels: options.labels,
          seeds: options.seeds,
          onProgress: context.out.progress,
        });
        tellSkipped(result.skipped);
        context.out.result(result, (r) =>
          format.table([
            ['labels', 'queue', 'random'],
            ...r.labels.map((n, i) => [n, format.percent(r.queue[i]!), format.percent(r.random[i]!)]),
          ]),
        );
      }),
    );
}
