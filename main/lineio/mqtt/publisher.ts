import type { MqttClient } from 'mqtt';
import type { Logger } from '../../contract/log.ts';
import type { PlantEvents, PlantEventsState } from '../../contract/plant-events.ts';

/** Messages that wait for the broker, about a megabyte; beyond it the oldest is given up. */
export const MOST_WAITING = 2_000;
/** Sent and not acknowledged: the client keeps these and sends them again after a reconnection. */
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
  let open = 0;
  let sent = 0;
  let dropped = 0;
  let problem: string | null = null;
  let ended = false;
  /** Connected, and what was open is sent again: what the client is given before that is lost when the connection ends. */
  let settled = false;

  const client: MqttClient = mqtt.connect({
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
    reconnectPeriod: RECONNECT_MS,
    // A broker that refuses now may know its accounts later.
    reconnectOnConnackError: true,
    ...(user === '' ? {} : { username: user }),
    ...(user === '' || password === null ? {} : { password }),
    will: { topic: `${prefix}/online`, payload: Buffer.from('0'), qos: 1, retain: true },
  });
  const told = (text: string | null) => {
    if (text !== null && text !== problem) log.warn('events are not sent', { address, port, problem: text });
    problem = text;
  };

  const send = () => {
    while (settled && !ended && open < MOST_OPEN) {
      const next = waiting.shift();
      if (!next) return;
      open += 1;
      client.publish(`${prefix}/${next.topic}`, next.text, { qos: 1, retain: next.retain }, (error) => {
        open -= 1;
        if (error) dropped += 1;
        else sent += 1;
        send();
      });
    }
  };
  client.on('connect', () => {
    settled = true;
    told(null);
    client.publish(`${prefix}/online`, '1', { qos: 1, retain: true });
    send();
  });
  client.on('error', (error) => told(error.message));
  client.on('close', () => {
    settled = false;
    if (!ended && problem === null) told('the connection ended');
  });

  return {
    publish(topic, message, { retain = false, key } = {}) {
      if (ended) return;
      const entry = { topic, text: JSON.stringify(message), retain, key: key ?? null };
      const same = key === undefined ? -1 : waiting.findIndex((other) => other.key === key);
      if (same >= 0) waiting[same] = entry;
      else waiting.push(entry);
      if (waiting.length > MOST_WAITING) {
        waiting.shift();
        dropped += 1;
      }
      send();
    },
    state: () => ({
      connection: client.connected ? 'connected' : 'connecting',
      sent,
      waiting: waiting.length + open,
      dropped,
      problem,
    }),
    async dispose() {
      if (ended) return;
      if (client.connected) {
        const said = new Promise<void>((resolve) => {
          client.publish(`${prefix}/online`, '0', { qos: 1, retain: true }, () => resolve());
        });
        await Promise.race([said, new Promise<void>((resolve) => void setTimeout(resolve, 1_000).unref())]);
      }
      ended = true;
      await client.endAsync(true).catch(() => {});
    },
  };
}
