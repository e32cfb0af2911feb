import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { openDevice } from '../../main/capture/gige/device.ts';
import {
  command,
  GVCP_PORT,
  readAcknowledge,
  readCommand,
  status,
  writeAcknowledge,
} from '../../main/capture/gige/gvcp.ts';
import { register } from '../../main/capture/gige/registers.ts';
import { startSimulator } from '../../main/capture/gige/simulator/simulator.ts';
import { foundCamera, ownAddress } from '../helpers/simulated-gige.ts';

/** The simulated camera behind another address, too busy to say who controls it while `busy` says so. */
async function busyCamera(address: string, busy: () => boolean) {
  const behind = ownAddress();
  const simulator = await startSimulator({ address: behind });
  const [front, back] = [createSocket('udp4'), createSocket('udp4')];
  let client: { port: number; address: string } | null = null;
  let answered = 0;
  const refused = new Set<number>();
  front.on('message', (bytes, from) => {
    client = from;
    const request = readCommand(bytes);
    const isBeat =
      request?.command === command.readRegister && request.payload.readUInt32BE(0) === register.controlChannelPrivilege;
    // Refused or not, it counts for the time-out of the heartbeat.
    back.send(bytes, GVCP_PORT, behind);
    if (!isBeat) return;
    if (!busy()) {
      answered += 1;
      return;
    }
    refused.add(request.requestId);
    front.send(
      writeAcknowledge(command.readRegisterAck, request.requestId, Buffer.alloc(0), status.busy),
      from.port,
      from.address,
    );
  });
  back.on('message', (bytes) => {
    if (client && !refused.has(readAcknowledge(bytes)!.requestId)) front.send(bytes, client.port, client.address);
  });
  front.bind(GVCP_PORT, address);
  await once(front, 'listening');
  return {
    refused: () => refused.size,
    answered: () => answered,
    async [Symbol.asyncDispose]() {
      front.close();
      back.close();
      await simulator.close();
    },
  };
}

it('a camera that is too busy to answer a heartbeat is not lost', async () => {
  const address = ownAddress();
  let busy = false;
  await using camera = await busyCamera(address, () => busy);
  const identity = { ...(await foundCamera(address)), address };
  const lost: unknown[] = [];
  const device = await openDevice(identity, { cameraId: 'C', control: true, onLost: (error) => lost.push(error) });
  try {
    busy = true;
    await expect.poll(camera.refused).toBeGreaterThan(2);
    const before = camera.answered();
    busy = false;
    await expect.poll(camera.answered).toBeGreaterThan(before + 1);
    expect(lost).toEqual([]);
    expect(await device.features.text('DeviceModelName')).toBe('Simulated GigE camera');
  } finally {
    await device.close();
  }
});
