import { untrack } from 'svelte';
import type { LineStatus, Station } from '../../main/contract/domain.ts';
import { isAppError } from '../../main/contract/errors.ts';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { canFeed, feedCamera } from '../lib/camera/feed-camera.ts';
import { openFeedSocket } from '../lib/camera/feed-socket.ts';
import { workers, type AppState } from './app-state.svelte.ts';

/** What stands between a line, or whoever sets one up, and its USB camera; null: nothing to do for this tab. */
export type TabCameraNeed = 'reading' | 'sign-in' | 'permission' | 'denied' | 'unsupported' | null;

const RETRY_MS = 2_000;

/**
 * In browser mode a tab reads the USB cameras of lines that run, and the one that it shows under Settings (the shell has windows of its own for it). It begins by itself where
 * the browser lets this page use the camera already; else the user is asked for a click, because browsers ask only then.
 */
export class TabCamera {
  /** Stations whose line runs with a USB camera, and those this tab reads for. */
  #wanted = $state.raw<readonly Station[]>([]);
  #reading = $state.raw<ReadonlyMap<string, Channel>>(new Map());
  #permission = $state<'granted' | 'prompt' | 'denied'>('prompt');
  readonly #app: AppState;
  readonly #running = new Map<string, boolean>();
  #trying = false;

  /** The first station that waits for this tab, or that it reads for. */
  readonly station = $derived(this.#wanted.find(({ id }) => !this.#reading.has(id)) ?? this.#wanted[0] ?? null);
  readonly need = $derived.by((): TabCameraNeed => {
    if (this.station === null) return null;
    if (this.#reading.has(this.station.id)) return 'reading';
    if (!canFeed()) return 'unsupported';
    if (!this.#app.has(workers)) return 'sign-in';
    if (this.#permission === 'granted') return null;
    return this.#permission === 'denied' ? 'denied' : 'permission';
  });

  constructor(app: AppState) {
    this.#app = app;
  }

  /** Within a component that lives as long as the page. */
  open(): void {
    const { client } = this.#app;
    client.on('line.changed', (line) => this.#takeLine(line));
    $effect(() => {
      // Asked for or not any more: it begins or ends at once.
      if (this.#app.previewedId !== null) untrack(() => void this.#tryAll());
    });
    void this.#watchPermission();
    setInterval(() => void this.#tryAll(), RETRY_MS);
    // Whoever leaves stops the camera; the browser asks in its own words.
    window.addEventListener('beforeunload', (event) => {
      if ([...this.#reading.keys()].some((id) => this.#running.get(id) === true)) event.preventDefault();
    });
  }

  /** The user's click: the browser asks its own question. */
  async allow(): Promise<void> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: false });
      for (const track of stream.getTracks()) track.stop();
      this.#permission = 'granted';
    } catch (error) {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#permission = 'denied';
      // Allowed, but the camera is not there or taken: the line says so as soon as this tab reads.
      else this.#permission = 'granted';
    }
    await this.#tryAll();
  }

  async #watchPermission(): Promise<void> {
    // Browsers without this name of a permission ask at the click.
    const status = await navigator.permissions.query({ name: 'camera' as PermissionName }).catch(() => null);
    if (status === null) return;
    this.#permission = status.state;
    status.addEventListener('change', () => (this.#permission = status.state));
  }

  #takeLine({ stationId, state }: LineStatus): void {
    const runs = state !== 'stopped';
    if (this.#running.get(stationId) === runs) return;
    this.#running.set(stationId, runs);
    void this.#tryAll();
  }

  /** Told anew each time: stations come and go, lines outlive cores, and tickets are for one connection. */
  async #tryAll(): Promise<void> {
    const { app } = { app: this.#app };
    if (this.#trying || app.connection !== 'open') return;
    this.#trying = true;
    try {
      const cameras = app.stations.filter(({ camera }) => camera.kind === 'usb');
      for (const { id } of cameras)
        if (!this.#running.has(id))
          this.#running.set(id, (await app.client.call('line.status', { stationId: id })).state !== 'stopped');
      const { previewedId } = app;
      // One that is only looked at may be saved with another camera still.
      this.#wanted = app.stations.filter(
        ({ id, camera }) => id === previewedId || (camera.kind === 'usb' && this.#running.get(id) === true),
      );
      if (!canFeed() || this.#permission !== 'granted' || !app.has(workers)) return;
      for (const { id } of this.#wanted) if (!this.#reading.has(id)) await this.#read(id);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#trying = false;
    }
  }

  /** A station that cannot be read for keeps none of the others waiting. */
  async #read(stationId: string): Promise<void> {
    try {
      const { ticket } = await this.#app.client.call('cameras.feed', { stationId });
      const channel = openFeedSocket(ticket);
      this.#reading = new Map([...this.#reading, [stationId, channel]]);
      channel.onClose(() => (this.#reading = new Map([...this.#reading].filter(([id]) => id !== stationId))));
      feedCamera(channel);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** The line stopped meanwhile, another page reads, or the core is away: tried again. */
  #failed(error: unknown): void {
    if (!isAppError(error)) this.#app.notify(error);
  }
}
