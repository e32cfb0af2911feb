import { utilityProcess } from 'electron';
import { createEmitterPortChannel } from '../contract/rpc/message-port.ts';
import { environmentOf, type SpawnPort } from '../host/spawn.ts';

/** Children as Electron utility processes: the bundled Node of the installed program, no second runtime. */
export const createUtilitySpawnPort = (): SpawnPort => ({
  spawn(name, entry, settings) {
    const child = utilityProcess.fork(entry, [JSON.stringify(settings)], {
      serviceName: `Mekiki ${name}`,
      stdio: 'inherit',
      env: { ...process.env, ...environmentOf(name) },
    });
    const channel = createEmitterPortChannel(
      {
        postMessage: (message) => child.postMessage(message),
        on: (event, listener) => (event === 'message' ? child.on('message', listener) : child.on('exit', listener)),
        // The parent cannot hang up on a utility process; the child ends when it is told to, or is killed.
        close() {},
      },
      { wrapped: false },
    );
    return {
      get pid() {
        return child.pid;
      },
      channel,
      kill(signal) {
        if (child.pid === undefined) return;
        if (signal === 'SIGKILL') process.kill(child.pid, 'SIGKILL');
        else child.kill();
      },
      onExit(listener) {
        const told = (code: number) => listener({ code, signal: null });
        child.once('exit', told);
        return () => void child.off('exit', told);
      },
    };
  },
});
