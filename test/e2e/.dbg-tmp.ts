import { buildRenderer, launchBrowser, openPage, testId } from '/work/main/test/e2e/browser.ts';
import { serve } from '/work/main/main/host/serve.ts';
import { mkdtemp } from 'node:fs/promises';
const home = await mkdtemp('/tmp/mekiki-loopdbg-');
const [built, browser] = await Promise.all([buildRenderer(), launchBrowser()]);
const t0 = Date.now(); const log = (...a: any[]) => console.log(((Date.now()-t0)/1000).toFixed(1), ...a);
const serving = await serve({ home, port: 0, demo: false, rendererDir: built.dir, stderrLevel: 'warn' });
log(serving.url, home);
const { page, problems } = await openPage(browser, serving.url);
try {
await page.waitForTimeout(1500); await page.screenshot({path:'/tmp/shots/l0.png'});
await page.click(testId('try-demo'), {timeout: 10000});
for (let i = 0; i < 40; i++) { await page.waitForTimeout(2000);
 const txt = await page.evaluate(() => document.body.innerText.slice(0, 0) + (document.querySelector('[data-testid=job]')?.textContent ?? '-') + ' N:' + [...document.querySelectorAll('.notices .note')].map(n=>n.textContent).join('|'));
 log(txt);
 if (await page.isVisible(testId('app-shell')) && i > 2) break; }
await page.screenshot({path:'/tmp/shots/l1.png'});
} catch (e) { console.log(String(e)); await page.screenshot({path:'/tmp/shots/l1.png'}); }
console.log(problems);
await browser.close(); await serving.close(); await built.remove(); process.exit(0);
