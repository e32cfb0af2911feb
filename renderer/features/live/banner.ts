import type { LineStatus, Part } from '../../../main/contract/domain.ts';

/** What the banner stands for. All look alike in height and columns; only colour, shape and words differ. */
export type BannerKind = 'ok' | 'ng' | 'unsure' | 'stopped' | 'starting' | 'waiting' | 'fault' | 'unknown';

/**
 * @param line as it is now; null: unknown.
 * @param held the user looks at this part: its verdict is shown whatever the line does.
 * @param setBack this PC's clock was: times of before and after do not compare, so the count of the run tells whether a part is of it.
 * A line that stands still, or of which nothing is known, never shows the verdict of a part that has left it.
 */
export function bannerKind(
  line: LineStatus | null,
  newest: Part | null,
  held: Part | null,
  setBack = false,
): BannerKind {
  if (held) return held.judgement.verdict;
  if (!line) return 'unknown';
  if (line.state === 'stopped') return 'stopped';
  if (line.state === 'fault' || line.camera === 'fault') return 'fault';
  if (line.state === 'starting') return 'starting';
  if (newest === null || line.startedAt === null) return 'waiting';
  return (setBack ? line.parts > 0 : newest.at >= line.startedAt) ? newest.judgement.verdict : 'waiting';
}
