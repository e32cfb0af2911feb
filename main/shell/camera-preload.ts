import { ipcRenderer } from 'electron';

/* All that a page which reads a USB camera is given: one MessagePort, with {type: 'mekiki-feed'}. It has nothing to ask. */

ipcRenderer.on('feed', ({ ports }) => window.postMessage({ type: 'mekiki-feed' }, location.origin, [...ports]));
