import { compressDataset } from '../../../main/compression/dataset.ts';
import { fakeMeasure } from './small-data.ts';

/* A search in a process of its own, to be killed. Options as JSON in the first argument; its progress goes to stdout. */
await compressDataset(
  { ...JSON.parse(process.argv[2]!), onProgress: (line: string) => process.stdout.write(`${line}\n`) },
  fakeMeasure,
);
