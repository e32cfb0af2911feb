/** So many at once, and so many a second for ever (a token bucket). */
export interface RateLimit {
  /** False: too much; nothing is taken. */
  take(): boolean;
}

export function createRateLimit(
  { burst, perSecond }: { burst: number; perSecond: number },
  nowMs: () => number = () => performance.now(),
): RateLimit {
  let left = burst;
  let at = nowMs();
  return {
    take() {
      const now = nowMs();
      left = Math.min(burst, left + (perSecond * Math.max(0, now - at)) / 1000);
      at = now;
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}
