import type { Station } from '../../main/contract/domain.ts';
import { createLine } from '../../main/host/line/line.ts';

/* A line process that tells its parent each record it emits, until it is killed. */
const { home, station, bundleDir } = JSON.parse(process.argv[2]!) as {
  home: string;
  station: Station;
  bundleDir: string;
};
const line = createLine({ emit: (event, payload) => void process.send!({ event, payload }) });
const signal = new AbortController().signal;
await line['line.configure'](
  { home, station, bundleDir, acknowledged: 0, keepOkImages: null, classCodes: {} },
  null,
  signal,
);
await line['line.start']({}, null, signal);
