/* What the report shows, as data: where each figure stands in which results file, and what is asked of it. Numbers stand in the files alone; those here are what was asked. */

export type Unit = 'share' | 'times' | 'ms' | 's' | 'pp' | 'MB' | 'count' | 'per second' | 'relative';

/** A number, or the path of one in the same file with the same keys for `*`. */
type Bound = number | string;

export interface Figure {
  what: string;
  /** Name of a results file; `*` stands for anything. Of files that tell the same of the same, the newest one counts. */
  file: string;
  /** See valuesAt in results.ts. */
  path: string;
  unit: Unit;
  /** What tells the files of a pattern apart, before the keys: `{path}` stands for a value of the file. */
  of?: string;
  atLeast?: Bound;
  atMost?: Bound;
}

export type Chart =
  | { kind: 'bars'; file: string; title: string; unit: Unit; value: string; low?: string; high?: string; line?: number }
  | {
      kind: 'points';
      file: string;
      title: string;
      x: { path: string; label: string };
      y: { path: string; label: string };
    };

export interface Section {
  title: string;
  /** One or two sentences: under which conditions. */
  text: string;
  figures: Figure[];
  charts: Chart[];
  /** Drawings that a bench wrote itself. */
  drawings?: string[];
}

const MB = 1e6;

export const sections: readonly Section[] = [
  {
    title: 'Class-incremental learning',
    text:
      'One class per task, nothing kept of earlier images. The closed form is compared with the same backbone that learns all classes at once; the methods of the paper and others run ' +
      'under one condition, with every seed and order of the classes.',
    figures: [
      {
        what: 'balanced accuracy after the last task, against learning all at once',
        file: 'learn-*',
        path: 'sets.*.balancedAccuracy',
        unit: 'share',
        of: '{backbone.id}',
        atLeast: 'sets.*.joint.balancedAccuracy',
      },
      {
        what: 'balanced accuracy over all images in grouped folds, less that of plain ridge with its best lambda',
        file: 'reference',
        path: 'sets.*.difference',
        unit: 'share',
        atLeast: 0,
      },
      {
        what: 'largest difference of a weight to learning all at once',
        file: 'learn-*',
        path: 'sets.*.maxWeightDifferenceToJoint',
        unit: 'relative',
        of: '{backbone.id}',
        atMost: 1e-6,
      },
      {
        what: 'accuracy after the last task, median of the runs',
        file: 'baselines',
        path: 'methods.*.accuracy.median',
        unit: 'share',
      },
      { what: 'backward transfer, median of the runs', file: 'baselines', path: 'methods.*.bwt.median', unit: 'share' },
      {
        what: 'adding 20 labelled parts, features included',
        file: 'knowledge-update',
        path: 'cases.*.updateSeconds',
        unit: 's',
        atMost: 5,
      },
    ],
    charts: [
      {
        kind: 'bars',
        file: 'baselines',
        title: 'Accuracy after the last task: median, least and most of the runs',
        unit: 'share',
        value: 'methods.*.accuracy.median',
        low: 'methods.*.accuracy.min',
        high: 'methods.*.accuracy.max',
      },
    ],
  },
  {
    title: "The paper's protocol",
    text:
      "The layout of CIFAR-100, a folder per class, in ten tasks, with scikit-learn's ridge on the same features beside it. The pictures of the recorded run are named in its file: where the " +
      'real set is not at hand they are rendered, and only the protocol is shown by them.',
    figures: [
      {
        what: 'accuracy after the last task, against learning all at once',
        file: 'paper-protocol-*',
        path: 'accuracy',
        unit: 'share',
        atLeast: 'joint.accuracy',
      },
      {
        what: 'accuracy against the ridge of scikit-learn',
        file: 'paper-protocol-*',
        path: 'accuracy',
        unit: 'share',
        atLeast: 'peer.accuracy',
      },
      {
        what: 'average of the accuracies after each task',
        file: 'paper-protocol-*',
        path: 'averageAccuracy',
        unit: 'share',
      },
      { what: 'backward transfer', file: 'paper-protocol-*', path: 'bwt', unit: 'share' },
    ],
    charts: [
      {
        kind: 'bars',
        file: 'paper-protocol-*',
        title: 'Accuracy over the classes learnt so far, after each task',
        unit: 'share',
        value: 'accuracyAfterTask.*',
      },
    ],
  },
  {
    title: 'Compression',
    text: 'What `compress --strategy auto` recommends with its defaults, without a question asked. The drop is that of grouped cross-validation, in points of balanced accuracy; the speed-up is measured, resize included.',
    figures: [
      {
        what: 'times as fast as MobileNet-EdgeTPU, 1 pp allowed',
        file: 'compress-auto-mobilenet*-1pp',
        path: 'sets.*.candidates[recommended].speedup',
        unit: 'times',
        atLeast: 5,
      },
      {
        what: 'times as fast as MobileNet-EdgeTPU, 2 pp allowed',
        file: 'compress-auto-mobilenet-edgetpu*-2pp*',
        path: 'sets.*.candidates[recommended].speedup',
        unit: 'times',
        atLeast: 10,
      },
      {
        what: 'times as fast as the shipped backbone, 1 pp allowed',
        file: 'compress-auto-shipped-1pp*',
        path: 'sets.*.candidates[recommended].speedup',
        unit: 'times',
        atLeast: 3,
      },
      {
        what: 'times as fast, 1 pp allowed, of what the defaults were not made with',
        file: 'compress-auto-mobilenet*-1pp-*',
        path: 'sets.*.candidates[recommended].speedup',
        unit: 'times',
        of: '{backbone.id}',
      },
      {
        what: 'drop of balanced accuracy',
        file: 'compress-auto-*',
        path: 'sets.*.candidates[recommended].grouped.dropPp',
        unit: 'pp',
        of: '{backbone.id}, {maxDropPp} pp allowed',
        atMost: 'maxDropPp',
      },
      { what: 'times as fast by INT8 alone', file: 'int8', path: 'rows.*.speedup', unit: 'times' },
      {
        what: 'drop of balanced accuracy by INT8 alone, all images',
        file: 'int8',
        path: 'rows.*.grouped.dropPp',
        unit: 'pp',
        atMost: 0.5,
      },
      {
        what: 'from the labels of a new class to a candidate, quick budget',
        file: 'recompression',
        path: 'sets.*.toCandidateSeconds',
        unit: 's',
        atMost: 180,
      },
    ],
    charts: [
      {
        kind: 'points',
        file: 'compress-auto-*',
        title: 'What is recommended: drop over speed-up',
        x: { path: 'sets.*.candidates[recommended].speedup', label: 'times as fast' },
        y: { path: 'sets.*.candidates[recommended].grouped.dropPp', label: 'drop, pp' },
      },
    ],
    drawings: ['trade-off-*.svg'],
  },
  {
    title: 'Latency and start',
    text: 'What the pipeline adds to a bare run of the same model, in one process and in turns; and from the start of the program to a usable window.',
    figures: [
      {
        what: 'added to the bare run, median',
        file: 'inspect',
        path: 'addedMs.p50',
        unit: 'ms',
        atMost: 'allowedMs.p50',
      },
      {
        what: 'added to the bare run, 99th percentile',
        file: 'inspect',
        path: 'addedMs.p99',
        unit: 'ms',
        atMost: 'allowedMs.p99',
      },
      {
        what: 'usable window, new data folder, slowest of five',
        file: 'startup-packed',
        path: 'usableWindowMs.newHome.max',
        unit: 'ms',
        of: 'the packed program',
        atMost: 3000,
      },
      {
        what: 'usable window, new data folder, slowest of five',
        file: 'startup',
        path: 'usableWindowMs.newHome.max',
        unit: 'ms',
        of: 'browser mode',
        atMost: 3000,
      },
      {
        what: 'usable window, the same folder again, slowest of five',
        file: 'startup-packed',
        path: 'usableWindowMs.sameHomeAgain.max',
        unit: 'ms',
        of: 'the packed program',
        atMost: 2000,
      },
      {
        what: 'usable window, the same folder again, slowest of five',
        file: 'startup',
        path: 'usableWindowMs.sameHomeAgain.max',
        unit: 'ms',
        of: 'browser mode',
        atMost: 2000,
      },
      {
        what: 'an Electron of one empty window, started again, slowest of five',
        file: 'startup-packed',
        path: 'bareElectronMs.sameHomeAgain.max',
        unit: 'ms',
      },
      {
        what: 'npm ci with an empty cache and npm start, to a usable window',
        file: 'fresh-install',
        path: 'seconds.all',
        unit: 's',
        atMost: 180,
      },
    ],
    charts: [],
  },
  {
    title: 'The window',
    text: 'In Chromium without a graphics card, with made-up parts behind the real contract: what scrolling, the live view and a long run cost.',
    figures: [
      { what: 'first paint, slowest of seven', file: 'window', path: 'firstPaintMs.max', unit: 'ms', atMost: 1000 },
      {
        what: 'frame while 10,000 thumbnails scroll, 99th percentile',
        file: 'window',
        path: 'scroll.frameMs.p99',
        unit: 'ms',
        atMost: 50,
      },
      {
        what: 'the same at two screens a second, pictures throughout',
        file: 'window',
        path: 'scroll.slow.frameMs.p99',
        unit: 'ms',
        atMost: 50,
      },
      {
        what: "share of a core for the page's tasks, Live at 20 parts/s",
        file: 'window',
        path: 'live.coreShareOfTasks',
        unit: 'share',
        atMost: 0.25,
      },
      {
        what: 'chart of 100,000 points, per move of its cursor',
        file: 'window',
        path: 'chart.perCursorMoveMs',
        unit: 'ms',
      },
      {
        what: 'growth of the heap per 10,000 parts',
        file: 'window-heap',
        path: 'heap.growthBytesPer10000',
        unit: 'MB',
        atMost: MB,
      },
    ],
    charts: [],
  },
  {
    title: 'Training, against PyTorch',
    text: 'The same networks, batch and threads, in turns in one run. Above 1 ours is faster, below 1 smaller.',
    figures: [
      {
        what: 'images per second, ours over PyTorch',
        file: 'train',
        path: '*.speedRatio.median',
        unit: 'times',
        atLeast: 1,
      },
      { what: 'peak memory, ours over PyTorch', file: 'train', path: '*.memoryRatio.median', unit: 'times' },
    ],
    charts: [
      {
        kind: 'bars',
        file: 'train',
        title: 'Images per second, ours over PyTorch: median, least and most',
        unit: 'times',
        value: '*.speedRatio.median',
        low: '*.speedRatio.min',
        high: '*.speedRatio.max',
        line: 1,
      },
    ],
  },
  {
    title: 'The line under load',
    text: 'A real line process with a PLC beside it and the trainer at work. How busy the machine was is in the files.',
    figures: [
      { what: 'parts', file: 'line-soak', path: 'parts', unit: 'count' },
      {
        what: 'triggers without an answer',
        file: 'line-soak',
        path: 'unanswered',
        unit: 'count',
        atMost: 'asked.unanswered',
      },
      { what: 'answers that came late', file: 'line-soak', path: 'late', unit: 'count', atMost: 'asked.late' },
      { what: 'memory of the line process', file: 'line-soak', path: 'rssBytes', unit: 'MB', atMost: 350 * MB },
      {
        what: 'two stations, with and without the trainer: triggers without an answer',
        file: 'stations',
        path: 'runs.*.lines.*.unanswered',
        unit: 'count',
        atMost: 'asked.unanswered',
      },
      {
        what: 'two stations, with and without the trainer: answers that came late',
        file: 'stations',
        path: 'runs.*.lines.*.late',
        unit: 'count',
        atMost: 'asked.late',
      },
      {
        what: 'two stations: latency, 99th percentile',
        file: 'stations',
        path: 'runs.*.lines.*.latencyMsP99',
        unit: 'ms',
        atMost: 'deadlineMs',
      },
      {
        what: 'two stations: median latency with the trainer at work over that without',
        file: 'stations',
        path: 'trainerSlowsBy.p50',
        unit: 'times',
      },
      {
        what: 'GigE Vision: frames lost with a simulated camera, one packet in a hundred missing',
        file: 'gige',
        path: 'faults.lost',
        unit: 'count',
        atMost: 0,
      },
    ],
    charts: [],
  },
  {
    title: 'Faults survived',
    text: 'kill -9 of processes, exchanged models, cameras that go silent, hostile packets, files with one flipped bit.',
    figures: [
      {
        what: 'results the PLC was told that no record has, 50 kill -9 each of core and line',
        file: 'line-kills',
        path: 'lost',
        unit: 'count',
        atMost: 0,
      },
      { what: 'results told twice', file: 'line-kills', path: 'twice', unit: 'count', atMost: 0 },
      {
        what: 'processes back within the limit',
        file: 'line-kills',
        path: 'recovery.*.withinLimit',
        unit: 'count',
        atLeast: 'recovery.*.kills',
      },
      { what: 'parts missed while models are exchanged', file: 'line-swaps', path: 'lost', unit: 'count', atMost: 0 },
      {
        what: 'cameras back within 3 s of a silence',
        file: 'gige',
        path: 'disconnects.within3sOfSilence',
        unit: 'count',
        atLeast: 'disconnects.disconnects',
      },
      {
        what: 'kill -9 of the core at random moments',
        file: 'faults-kills',
        path: 'kills',
        unit: 'count',
        atLeast: 500,
      },
      { what: 'what they left wrong', file: 'faults-kills', path: 'wrong.length', unit: 'count', atMost: 0 },
      { what: 'states of the disk after a power cut', file: 'faults-power', path: 'states', unit: 'count' },
      { what: 'what they left wrong', file: 'faults-power', path: 'wrong.length', unit: 'count', atMost: 0 },
      { what: 'rounds with a full disk', file: 'faults-full', path: 'rounds', unit: 'count' },
      {
        what: 'acts and starts refused for want of room, each as DISK_FULL',
        file: 'faults-full',
        path: 'refused',
        unit: 'count',
      },
      { what: 'what they left wrong', file: 'faults-full', path: 'wrong.length', unit: 'count', atMost: 0 },
      { what: 'hostile inputs', file: 'hostile-inputs', path: 'inputs', unit: 'count', atLeast: 100_000 },
      { what: 'of which taken', file: 'hostile-inputs', path: 'acceptedCount', unit: 'count', atMost: 0 },
      {
        what: 'bundles, as one file and as the line proves them, with one flipped bit that were taken',
        file: 'bundle-flips',
        path: '*.accepted.length',
        unit: 'count',
        atMost: 0,
      },
    ],
    charts: [],
  },
  {
    title: 'Tests, again and again',
    text: 'The same tests so many times over; one that passes only when it is tried anew counts as failed. What failed how often is in the files.',
    figures: [
      { what: 'rounds', file: 'repeat*', path: '*.times', unit: 'count' },
      { what: 'tests in a round', file: 'repeat*', path: '*.tests', unit: 'count' },
      { what: 'failures in all rounds', file: 'repeat*', path: '*.failed', unit: 'count', atMost: 0 },
    ],
    charts: [],
  },
  {
    title: 'Defects that nobody has labelled',
    text: 'Area under the curve with each class held out of training in turn, and with good parts alone.',
    figures: [
      { what: 'novelty', file: 'novelty', path: 'sets.*.novelty.mean', unit: 'share', atLeast: 'asked.novelty.*' },
      {
        what: 'labels in the order of the queue, against random order, for 95 % of what that reaches with 320',
        file: 'label-curve',
        path: 'sets.*.target.queue',
        unit: 'count',
        atMost: 'sets.*.target.random',
      },
      { what: 'anomaly', file: 'novelty', path: 'sets.*.anomaly.auroc', unit: 'share', atLeast: 'asked.anomaly.*' },
    ],
    charts: [],
  },
  {
    title: 'Trust',
    text:
      'Reading and checking the whole audit trail; a year of a million parts. Records are stored as a line hands them over (what gathers in 50 ms at 200 parts a second, one transaction), and ' +
      'beside that one by one, each on the disk for good before the next.',
    figures: [
      {
        what: 'records as a line hands them over',
        file: 'million-parts',
        path: 'records.handedOver.perSecond',
        unit: 'per second',
        atLeast: 200,
      },
      { what: 'records one by one', file: 'million-parts', path: 'records.oneByOne.perSecond', unit: 'per second' },
      {
        what: 'slowest question of a screen, 99th percentile',
        file: 'million-parts',
        path: 'slowest.p99',
        unit: 'ms',
        atMost: 50,
      },
      {
        what: 'entries checked',
        file: 'audit-verify',
        path: 'entriesPerSecond.median',
        unit: 'per second',
        atLeast: 50_000,
      },
    ],
    charts: [],
  },
];
