import { expect, test } from 'vitest';
import { createFaultNews } from '../../../main/shell/fault-news.ts';

test('a line that fails again and again is told once, until it has run for a while or was stopped', () => {
  let minute = 0;
  const isNews = createFaultNews(() => minute * 60_000);
  const at = (when: number, state: 'fault' | 'running' | 'stopped', stationId = 'a') => {
    minute = when;
    return isNews({ stationId, state });
  };
  expect(at(0, 'fault')).toBe(true);
  expect(at(0, 'fault')).toBe(false);
  for (let n = 1; n < 100; n += 1) expect([at(n, 'running'), at(n + 0.5, 'fault')]).toEqual([false, false]);
  expect(at(100, 'fault', 'b')).toBe(true);
  expect([at(101, 'running'), at(111, 'fault')]).toEqual([false, true]);
  expect([at(112, 'stopped'), at(113, 'fault')]).toEqual([false, true]);
});
