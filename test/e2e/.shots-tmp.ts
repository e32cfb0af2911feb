import { buildRenderer, launchBrowser, openPage, testId } from '/work/main/test/e2e/browser.ts';
import { serveFixture } from '/work/main/test/e2e/fixtures/server.ts';
import { createWorld } from '/work/main/test/e2e/fixtures/world.ts';
const only = process.argv[2];
const built = await buildRenderer();
const browser = await launchBrowser();
const world = createWorld('shift');
const server = await serveFixture(world, built.dir);
const shot = async (name: string, opts: any, area: string, user: [string,string]|null, act?: (p:any)=>Promise<void>) => {
  if (only && !new RegExp(only).test(name)) return;
  world.session = { ...world.session, language: opts.ja ? 'ja' : 'en' };
  const { page, problems } = await openPage(browser, server.url, opts);
  await page.waitForSelector(testId('app-shell'));
  if (user) {
    await page.click(testId('open-sign-in'));
    await page.fill(testId('sign-in-name'), user[0]); await page.fill(testId('sign-in-password'), user[1]);
    await page.click(testId('sign-in-submit')); await page.waitForSelector(testId('user-menu'));
  }
  await page.click(testId('area-' + area)); await page.waitForSelector(`[data-screen=${area}]`);
  await page.waitForTimeout(500);
  if (act) { await act(page); await page.waitForTimeout(300); }
  await page.mouse.move(5, 800);
  await page.screenshot({ path: `/tmp/shots/${name}.png` });
  if (problems.length) console.log(name, problems.slice(0, 5));
  await page.context().close();
};
const te: [string,string] = ['TE-04','technician'], sv: [string,string] = ['SV-02','supervisor'];
const sizes: [string, any][] = [['1440', {}], ['1280', { width: 1280, height: 800 }], ['light', { theme: 'light' }], ['ja', { ja: true }]];
for (const [s, o] of sizes) {
  await shot(`live-${s}`, o, 'live', ['OP-17','operator-1'], async (p) => { await p.click(testId('strip-part') + ' >> nth=-1'); await p.click(testId('heat-map')); });
  await shot(`label-${s}`, o, 'label', te);
  await shot(`learn-${s}`, o, 'learn', te);
  await shot(`approve-${s}`, o, 'approve', sv);
  await shot(`models-${s}`, o, 'models', sv);
  await shot(`settings-${s}`, o, 'settings', sv);
  await shot(`audit-${s}`, o, 'audit', sv);
  await shot(`reports-${s}`, o, 'reports', sv);
}
await server.close();
if (!only || /first/.test(only)) {
const first = await serveFixture(createWorld('first'), built.dir);
for (const [s, o] of sizes) {
  const { page, problems } = await openPage(browser, first.url, { ...o, locale: o.ja ? 'ja-JP' : 'en-GB' });
  if (o.ja) await page.click(testId('language-ja')); else { await page.waitForSelector(testId('try-demo')); await page.click(testId('language-en')); }
  await page.waitForTimeout(400);
  await page.screenshot({ path: `/tmp/shots/first-${s}.png` });
  if (problems.length) console.log('first', problems.slice(0, 5));
  await page.context().close();
}
await first.close();
}
await browser.close(); await built.remove();
process.exit(0);
