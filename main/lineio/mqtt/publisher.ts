import type { MqttClient } from 'mqtt';
import type { Logger } from '../../contract/log.ts';
import type { PlantEvents, PlantEventsState } from '../../contract/plant-events.ts';

/** Messages that wait for the broker, about a megabyte; beyond it the oldest is given up. */
export const MOST_WAITING = 2_000;
/** Sent and not acknowledged: these are sent again, over the next connection. */
const MOST_OPEN = 32;
const RECONNECT_MS = 2_000;
const CONNECT_MS = 5_000;
const KEEP_ALIVE_S = 15;

export interface Publisher {
  /** Takes a message and returns at once, whatever the broker does. `key`: a later message of the same key replaces one that waits. */
  publish(topic: string, message: object, options?: { retain?: boolean; key?: string }): void;
  state(): PlantEventsState;
  /** Says goodbye (`online` becomes 0) within a second. */
  dispose(): Promise<void>;
}

interface Waiting {
  topic: string;
  text: string;
  retain: boolean;
  key: string | null;
}

/**
 * Sends JSON to one broker, at least once (QoS 1, MQTT 3.1.1 section 4.3.2), below `prefix`; `<prefix>/online` is 1 while it is connected and 0 by
 * the broker's last will after it is gone.
 * @param clientId the same after a restart, another one on every PC
 */
export async function openPublisher(
  config: Extract<PlantEvents, { kind: 'mqtt' }>,
  { clientId, password, log }: { clientId: string; password: string | null; log: Pick<Logger, 'warn'> },
): Promise<Publisher> {
  // Loaded where it is used: most lines tell nobody.
  const { default: mqtt } = await import('mqtt');
  const { address, port, prefix, user, tls } = config;
  const waiting: Waiting[] = [];
  /** Sent over the connection that stands, and not acknowledged. */
  const open = new Set<Waiting>();
  let sent = 0;
  let dropped = 0;
  let problem: string | null = null;
  let ended = false;
  /** Over which is sent; null: none is connected. */
  let over: MqttClient | null = null;
  let again: NodeJS.Timeout | undefined;

  const told = (text: string | null) => {
    if (text !== null && text !== problem) log.warn('events are not sent', { address, port, problem: text });
    problem = text;
  };
  const giveUpOldest = () => {
    while (waiting.length > MOST_WAITING) {
      waiting.shift();
      dropped += 1;
    }
  };
  const send = () => {
    const here = over;
    while (here !== null && !ended && open.size < MOST_OPEN) {
      const next = waiting.shift();
      if (!next) return;
      open.add(next);
      here.publish(`${prefix}/${next.topic}`, next.text, { qos: 1, retain: next.retain }, (error) => {
        // Without an acknowledgement, as the connection ended: it waits again.
        if (error || here !== over) return;
        open.delete(next);
        sent += 1;
        told(null);
        send();
      });
    }
  };
  /**
   * A client for each connection. One that connects again by itself sends what was open one after the other: a message that the broker never
   * acknowledges would hold up all others, and each connection that ends in it makes the client hold more.
   */
  const connect = (): MqttClient => {
    const made = mqtt.connect({
      protocol: tls === null ? 'mqtt' : 'mqtts',
      host: address,
      port,
      // Node itself checks chain and name: against the certificates given, in place of those of the system, and the name, else the address.
      ...(tls && { ca: tls.ca, minVersion: 'TLSv1.2', rejectUnauthorized: true }),
      ...(tls && tls.serverName !== '' && { servername: tls.serverName }),
      clientId,
      clean: true,
      keepalive: KEEP_ALIVE_S,
      connectTimeout: CONNECT_MS,
      reconnectPeriod: 0,
      ...(user === '' ? {} : { username: user }),
      ...(user === '' || password === null ? {} : { password }),
      will: { topic: `${prefix}/online`, payload: Buffer.from('0'), qos: 1, retain: true },
    });
    made.on('connect', () => {
      over = made;
      // Well when something is acknowledged: a broker may let in whom it then throws out.
      made.publish(`${prefix}/online`, '1', { qos: 1, retain: true }, (error) => {
        if (!error) told(null);
      });
      send();
    });
    made.on('error', (error) => told(error.message));
    made.on('close', () => {
      over = null;
      waiting.unshift(...open);
      open.clear();
      giveUpOldest();
      if (ended) return;
      if (problem === null) told('the connection ended');
      // Also one that refuses: it may know its accounts later.
      again = setTimeout(() => (client = connect()), RECONNECT_MS);
    });
    return made;
  };
  let client = connect();

  return {
    publish(topic, message, { retain = false, key } = {}) {
      if (ended) return;
      const entry = { topic, text: JSON.stringify(message), retain, key: key ?? null };
      // The last: one before it was open when the connection ended.
      const same = key === undefined ? -1 : waiting.findLastIndex((other) => other.key === key);
      if (same >= 0) waiting[same] = entry;
      else waiting.push(entry);
      giveUpOldest();
      send();
    },
    state: () => ({
      connection: over === null ? 'connecting' : 'connected',
      sent,
      waiting: waiting.length + open.size,
      dropped,
      problem,
    }),
    async dispose() {
      if (ended) return;
      const here = over;
      if (here !== null) {
        const said = new Promise<void>((resolve) => {
          here.publish(`${prefix}/online`, '0', { qos: 1, retain: true }, () => resolve());
        });
        await Promise.race([said, new Promise<void>((resolve) => void setTimeout(resolve, 1_000).unref())]);
      }
      ended = true;
      clearTimeout(again);
      await client.endAsync(true).catch(() => {});
    },
  };
}
