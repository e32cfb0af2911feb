// The least program that Electron can start: one window around a page with one field, confined and sized as the program's own. What a start of it takes is not the
// program's to shorten.
const { join } = require('node:path');
const { app, BrowserWindow } = require('electron');

for (const [name, value] of [
  ['host-resolver-rules', 'MAP * ~NOTFOUND'],
  ['disable-background-networking', ''],
  ['disable-component-update', ''],
  ['no-proxy-server', ''],
])
  app.commandLine.appendSwitch(name, value);
app.setPath('userData', process.env.BARE_HOME);
app.whenReady().then(() => {
  const window = new BrowserWindow({
    width: 1440,
    height: 900,
    show: false,
    backgroundColor: '#0f1317',
    webPreferences: { sandbox: true, contextIsolation: true, nodeIntegration: false, spellcheck: false },
  });
  window.once('ready-to-show', () => window.show());
  window.webContents.on('page-title-updated', (_event, title) => {
    if (title === 'usable') process.stdout.write(`usable at ${Date.now()}\n`);
  });
  window.loadFile(join(__dirname, 'index.html'));
});
process.on('SIGTERM', () => app.quit());
app.on('window-all-closed', () => app.quit());
