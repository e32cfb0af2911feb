import { expect, it } from 'vitest';
import type { Device } from '../../../main/capture/gige/device.ts';
import { openStreamChannel } from '../../../main/capture/gige/stream-channel.ts';

it('a stream that cannot be opened, for this PC has another address by now, leaves no socket behind', async () => {
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'UDPWrap').length;
  const before = sockets();
  // Of RFC 5737: nobody has it.
  const device = { channel: { address: '203.0.113.1', localAddress: '203.0.113.9' } } as Device;
  const events = { onBlock: () => true, onLost() {}, onResend() {} };
  await expect(openStreamChannel(device, events)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  await expect.poll(sockets).toBe(before);
});
