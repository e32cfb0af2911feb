import { expect, it } from 'vitest';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import { signIn } from './browser.ts';
import { createWorld } from './fixtures/world.ts';
import { useWindow } from './window-page.ts';

/* Which cameras a tab wants to read, in a real browser. Reading them is usb-camera.test.ts. */

const window = useWindow();

it('reads for each line that runs with a USB camera and for no other, and one that is refused keeps none waiting', async () => {
  const world = createWorld('shift');
  const [running] = world.stations;
  const camera = cameraConfigSchema.parse({ kind: 'usb', label: 'Camera' });
  world.stations = [running!, { ...running!, id: 'usb-1', camera }, { ...running!, id: 'usb-2', camera }];
  await window.serve(world);
  const { page, problems } = await window.open();
  await page.context().grantPermissions(['camera']);
  await signIn(page, 'TE-04', 'technician');
  // The page hears of a line that runs, whatever its camera.
  window.server.tick();
  await expect.poll(() => world.feeds.filter((id) => id === 'usb-2').length).toBeGreaterThan(1);
  expect(new Set(world.feeds)).toEqual(new Set(['usb-1', 'usb-2']));
  expect(problems).toEqual([]);
});
