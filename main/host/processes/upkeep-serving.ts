import type { Logger } from '../../contract/log.ts';
import type { Multiplexer } from '../../contract/rpc/multiplex.ts';
import { createServer } from '../../contract/rpc/server.ts';
import { checkHome } from '../../core/home-check.ts';
import { restoreBackup } from '../../core/restore.ts';
import { UPKEEP, upkeepEvents, upkeepMethods } from '../control.ts';
import { givenPassword } from '../given-password.ts';
import { checkProgress, checkText, restoreProgress, restoreText } from '../upkeep-texts.ts';

/** Restores or checks the home for whoever started this process; no core has it open. */
export function serveUpkeep(wire: Multiplexer, home: string, log: Logger): void {
  wire.onOpen((name, channel) => {
    if (name !== UPKEEP) return channel.close();
    let last = -Infinity;
    const tell = (line: string) => {
      if (performance.now() - last < 1000) return;
      last = performance.now();
      server.emit('upkeep.progressed', line);
    };
    const server = createServer({
      methods: upkeepMethods,
      events: upkeepEvents,
      channel,
      session: null,
      log,
      handlers: {
        async 'upkeep.restore'({ file }, _session, signal) {
          const made = await restoreBackup({
            file,
            home,
            signal,
            password: async (by) => givenPassword(by),
            progress: (done, of) => tell(restoreProgress(done, of)),
          });
          return { whole: true, report: restoreText(home, made) };
        },
        async 'upkeep.check'({ repair }, _session, signal) {
          const found = await checkHome({
            home,
            repair,
            signal,
            progress: (done, of) => tell(checkProgress(done, of)),
          });
          return { whole: found.whole, report: checkText(found) };
        },
      },
    });
  });
}
