import { ipcRenderer } from 'electron';

/*
 * The bridge between page and core is one MessagePort; nothing of Electron or Node reaches the page. The page asks with
 * {type: 'mekiki-port-wanted'}; a port follows as soon as the core serves, with {type: 'mekiki-port'}.
 */

window.addEventListener('message', ({ source, data }: MessageEvent<{ type?: unknown } | null>) => {
  if (source === window && data?.type === 'mekiki-port-wanted') ipcRenderer.send('port-wanted');
});
ipcRenderer.on('port', ({ ports }) => window.postMessage({ type: 'mekiki-port' }, location.origin, [...ports]));
