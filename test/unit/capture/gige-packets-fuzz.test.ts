import { describe, expect, it } from 'vitest';
import { createPacketFuzz } from '../../helpers/gige-fuzz.ts';

describe('packets that nobody sends', () => {
  it('are read without a failure, and hold no memory', () => {
    const fuzz = createPacketFuzz(20_261_128);
    for (let i = 0; i < 20_000; i += 1) fuzz.next();
    const { read, pictures, driver, device } = fuzz.counts();
    // Not all is thrown away at the door: what lies behind it was reached.
    expect(read).toBeGreaterThan(5_000);
    expect(pictures).toBeGreaterThan(5);
    expect(driver.blocks + driver.lost).toBeGreaterThan(100);
    expect(device.answers).toBeGreaterThan(1_000);
    expect(fuzz.heldBytes()).toBeLessThan(fuzz.mostHeldBytes);
  });
});
