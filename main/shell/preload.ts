import { ipcRenderer } from 'electron';

/*
 * The bridge between page and core is one MessagePort; nothing of Electron or Node reaches the page. The page asks with
 * {type: 'mekiki-port-wanted'}; a port follows as soon as the core serves, with {type: 'mekiki-port'}. What it asks of the desktop
 * (main/shell/page-requests.ts) goes as {type: 'mekiki-request', id, request} and is answered by {type: 'mekiki-answer', id, value}.
 * {type: 'mekiki-bundle-opened'}: there is a bundle to ask for.
 */

interface FromPage {
  type?: unknown;
  id?: unknown;
  request?: unknown;
}

window.addEventListener('message', ({ source, data }: MessageEvent<FromPage | null>) => {
  if (source !== window) return;
  if (data?.type === 'mekiki-port-wanted') ipcRenderer.send('port-wanted');
  else if (data?.type === 'mekiki-request') {
    const { id, request } = data;
    void ipcRenderer
      .invoke('page-request', request)
      .then((value: unknown) => window.postMessage({ type: 'mekiki-answer', id, value }, location.origin));
  }
});
ipcRenderer.on('port', ({ ports }) => window.postMessage({ type: 'mekiki-port' }, location.origin, [...ports]));
ipcRenderer.on('bundle-opened', () => window.postMessage({ type: 'mekiki-bundle-opened' }, location.origin));
