import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { lineOutputSchema } from '../../main/contract/domain.ts';
import { registerMap } from '../../main/lineio/register-map.ts';
import { cli } from '../helpers/cli.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

const python = '/usr/bin/python3';
const hasPymodbus = spawnSync(python, ['-c', 'import pymodbus']).status === 0;

async function openLine() {
  const at = await createLineHome();
  const line = listenedLine();
  const station = lineStation(
    { kind: 'simulated', width: 96, height: 96 },
    {
      lineOutput: lineOutputSchema.parse({
        kind: 'modbus-server',
        port: 0,
        acknowledgeTimeoutMs: 60_000,
        resultTimeoutMs: 60_000,
      }),
      line: lineSettings({ trigger: { source: 'line-output' } }),
    },
  );
  await line.configure(at.home, station, await at.bundle('m-1'));
  await line.start();
  await until('the line output listens', () => line.status().lineOutput !== null);
  return {
    line,
    port: line.status().lineOutput!.port,
    async [Symbol.asyncDispose]() {
      await line.line.dispose();
      at[Symbol.dispose]();
    },
  };
}

test('lineio map: each signal where the station lays it, as data and as Markdown', async () => {
  const run = await cli(['lineio', 'map', '--json', '--lay', 'lot=100']);
  expect(run.code).toBe(0);
  const { signals } = run.json() as { signals: { name: string; address: number; area: string }[] };
  expect(signals.map(({ name }) => name)).toEqual(Object.keys(registerMap));
  expect(signals.find(({ name }) => name === 'lot')).toMatchObject({ address: 100, area: 'holding' });
  const text = await cli(['lineio', 'map']);
  expect(text.stdout).toContain(`| \`trigger\` | coil | 0 | bit | ${registerMap.trigger.meaning} |`);
  const wrong = await cli(['lineio', 'map', '--json', '--lay', 'acknowledge=0']);
  expect([wrong.code, wrong.json()]).toMatchObject([1, { error: { code: 'INVALID_INPUT' } }]);
});

test('lineio watch reads the signals of a running line, and says where nobody answers', async () => {
  await using at = await openLine();
  const run = await cli(['lineio', 'watch', '--json', '--port', String(at.port), '--count', '3']);
  expect(run.code).toBe(0);
  expect(run.json()).toMatchObject({
    signals: { running: true, triggerReady: true, resultReady: false, statTriggers: 0, lot: '' },
  });
  const nobody = await cli(['lineio', 'watch', '--json', '--address', '127.0.0.7', '--port', '9', '--count', '1']);
  expect([nobody.code, nobody.json()]).toMatchObject([1, { error: { code: 'LINE_OUTPUT_UNREACHABLE' } }]);
});

test.skipIf(!hasPymodbus)(
  'pymodbus, an independent master, goes through the handshake',
  async () => {
    await using at = await openLine();
    const script = fileURLToPath(new URL('lineio-peer.py', import.meta.url));
    const { stdout } = await promisify(execFile)(python, [script, String(at.port), '4'], { timeout: 180_000 });
    const { told, refused } = JSON.parse(stdout) as {
      told: { bits: boolean[]; verdict: number; part: number }[];
      refused: boolean[];
    };
    expect(told.map(({ part }) => part)).toEqual([1, 2, 3, 4]);
    expect(refused).toEqual([true, true]);
    await until('the records', () => at.line.records.length >= 4);
    for (const [i, { verdict, bits }] of told.entries()) {
      const { judgement, notes } = at.line.records[i]!;
      expect(verdict).toBe({ ok: 1, ng: 2, unsure: 3 }[judgement.verdict]);
      expect(bits[registerMap.ok.address]).toBe(judgement.verdict === 'ok');
      expect(notes).toContain('lot PY');
    }
  },
  240_000,
);
