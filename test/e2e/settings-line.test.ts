import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, it } from 'vitest';
import type { Events, Methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { serve } from '../../main/host/serve.ts';
import { buildRenderer, launchBrowser, openPage, testId } from './browser.ts';

/** Of a broker that there is none of; made by openssl for this test. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBbjCCAROgAwIBAgIUEnqdKBeqemh0ECEw4rX7sN5blQ8wCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYjAeFw0yNjExMjgyMzU0MTlaFw0yNjExMjkyMzU0MTlaMAwx
CjAIBgNVBAMMAWIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATlf+8GK0SFP9hW
zEVc4mzXjePA5csV+Mk8gIDGF/oMk3BAuYrbKpsKgjFQraswzRS+OH4VlBWBw6F8
pvBsXSudo1MwUTAdBgNVHQ4EFgQU0TbI7hX6K6o1S4BxvOI2VMK9HiIwHwYDVR0j
BBgwFoAU0TbI7hX6K6o1S4BxvOI2VMK9HiIwDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNJADBGAiEAtUf8/qWiTZyN+DmD6RTDIvr/rdtCSeNHUT/XF/0Imn4C
IQDaJLTCM426emFqWttds01aMsGRTD03JcFT4mA5Yh/+NA==
-----END CERTIFICATE-----`;

/* How a line runs and tells, set in a real browser, with the real core behind it. */

it('trigger, deadline, drop policy, line output and events are stored as typed, what another client changed stays; what is no address and no certificate is refused', async () => {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-settings-'));
  const [rendererDir, browser] = await Promise.all([buildRenderer(), launchBrowser()]);
  const serving = await serve({ home, port: 0, demo: false, stderrLevel: null, rendererDir });
  try {
    const { page, problems } = await openPage(browser, serving.url, { locale: 'en-GB' });
    await page.fill(testId('first-start-name'), 'Hana');
    await page.fill(testId('first-start-password'), 'a password of hers');
    await page.fill(testId('first-start-password-again'), 'a password of hers');
    await page.click(testId('first-start-create'));
    await page.waitForSelector(testId('app-shell'));
    await page.click(testId('area-settings'));
    await page.fill(testId('station-name'), 'Press 3');
    await page.selectOption(testId('trigger-source'), 'line-output');
    await page.fill(testId('min-spacing'), '40');
    await page.fill(testId('deadline'), '150');
    await page.selectOption(testId('drop-policy'), 'drop-oldest');
    await page.selectOption(testId('output-kind'), 'modbus-client');
    expect(await page.inputValue(testId('answer-timeout'))).toBe('1000');
    expect(await page.inputValue(testId('peer-timeout'))).toBe('2000');
    await page.selectOption(testId('output-kind'), 'modbus-server');
    await page.fill(testId('output-port'), '1502');
    // A form of digits and dots, but no address: the core says so.
    await page.fill(testId('output-peers'), '192.168.1.999');
    await page.click(testId('save-station'));
    await page.waitForSelector('form [role="alert"]');
    await page.fill(testId('output-peers'), '192.168.1.20、１９２．１６８．１．２１');
    await page.click(testId('save-station'));
    await page.waitForSelector('text=Saved.');

    // Somebody else changes what the form shows while something is typed: neither is put back.
    await page.fill(testId('deadline'), '160');
    const [window, ours] = createMemoryPair();
    serving.supervisor.attachWindow(window);
    const other = createClient<Methods, Events>(ours);
    await other.call('session.signIn', { name: 'Hana', password: 'a password of hers' });
    const [station] = await other.call('stations.list', {});
    const criteria = { ...station!.criteria, revalidateDays: 30, maxEscape: 0.01 };
    await other.call('stations.update', { stationId: station!.id, criteria });
    await expect.poll(() => page.inputValue(testId('revalidate-days'))).toBe('30');
    expect(await page.inputValue(testId('deadline'))).toBe('160');
    await page.click(testId('save-station'));
    const saved = async () => (await other.call('stations.list', {}))[0];
    await expect.poll(saved).toMatchObject({ criteria, line: { deadlineMs: 160 } });
    await page.waitForSelector('text=Saved.', { state: 'detached' });

    // So it is with how long things are kept, and with when shifts begin.
    await page.fill(testId('keep-okPictures'), '500');
    const retention = { okPictures: 2_000, otherPicturesDays: null, recordsDays: 365 };
    await other.call('retention.set', { stationId: station!.id, retention });
    await other.call('reports.setShifts', { starts: [7, 19] });
    await expect.poll(() => page.inputValue(testId('keep-records'))).toBe('365');
    expect(await page.inputValue(testId('keep-okPictures'))).toBe('500');
    await page.click(testId('save-retention'));
    await expect
      .poll(() => other.call('retention.get', { stationId: station!.id }))
      .toMatchObject({ retention: { ...retention, okPictures: 500 } });
    await expect.poll(() => page.inputValue(testId('shifts'))).toBe('7, 19');
    await page.waitForSelector('text=Saved.', { state: 'detached' });

    await page.selectOption(testId('events-kind'), 'mqtt');
    await page.fill(testId('events-address'), '127.0.0.1');
    await page.selectOption(testId('events-transport'), 'tls');
    await page.fill(testId('events-ca'), CERTIFICATE.replace('MII', 'AAA'));
    await page.click(testId('events-save'));
    await page.waitForSelector('.events [role="alert"]');
    await page.fill(testId('events-ca'), CERTIFICATE);
    await page.click(testId('events-save'));
    await page.waitForSelector('text=Saved.');
    await page.waitForSelector(testId('events-state'));
    const { config } = await other.call('events.get', {});
    await page.fill(testId('events-prefix'), 'press3');
    await other.call('events.set', { config: { ...config, kind: 'mqtt', address: '127.0.0.2' } });
    await expect.poll(() => page.inputValue(testId('events-address'))).toBe('127.0.0.2');
    await page.click(testId('events-save'));
    const sent = () => other.call('events.get', {}).then((now) => now.config);
    await expect.poll(sent).toMatchObject({ ...config, address: '127.0.0.2', prefix: 'press3' });
    other.close?.();
    expect(problems).toEqual([]);
  } finally {
    await browser.close();
    await serving.close();
  }
  const database = new Database(join(home, 'mekiki.sqlite'), { readonly: true });
  const row = database.prepare('SELECT line, line_output FROM stations WHERE name = ?').get('Press 3') as {
    line: string;
    line_output: string;
  };
  const events = database.prepare("SELECT value FROM settings WHERE key = 'plantEvents'").pluck().get() as string;
  database.close();
  await rm(home, { recursive: true, force: true });
  expect(JSON.parse(events)).toMatchObject({
    kind: 'mqtt',
    address: '127.0.0.2',
    prefix: 'press3',
    tls: { ca: CERTIFICATE, serverName: '' },
  });
  expect(JSON.parse(row.line)).toMatchObject({
    trigger: { source: 'line-output', minSpacingMs: 40 },
    deadlineMs: 160,
    dropPolicy: 'drop-oldest',
  });
  expect(JSON.parse(row.line_output)).toMatchObject({
    kind: 'modbus-server',
    port: 1502,
    peers: ['192.168.1.20', '192.168.1.21'],
  });
});
