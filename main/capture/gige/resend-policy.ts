/**
 * Packets that may be asked for, as a share of those that came by themselves, and beside that per millisecond. A link or a receiver
 * that is overloaded loses more the more is asked for; beyond this, losing a block is better than losing all.
 */
const ASK_SHARE = 0.25;
const ASK_PER_MS = 1;
/** Blocks given up, when nothing ever came that was asked for, until the camera is taken at its deeds and not at its word. */
const UNANSWERED_BLOCKS = 4;
/** Then it is tried again: an overloaded moment looks the same. */
const ASK_AGAIN_MS = 10_000;

/** Whether a camera is asked for lost packets, and for how many. A pure machine, as the reassembly that asks. */
export interface ResendPolicy {
  /** @returns whether packets may be asked for now */
  asks(now: number): boolean;
  /** @returns how many of so many packets may be asked for; they count as asked */
  take(wanted: number): number;
  /** A packet came by itself. */
  came(): void;
  /** A packet came that was asked for. */
  answered(): void;
  /** @param ms since the last look */
  passed(ms: number): void;
  /** A block was given up, though its packets had been asked for. */
  gaveUp(now: number): void;
}

/**
 * @param canSend the camera says that it can send packets again
 * @param blockPackets packets of a block, leader and trailer among them; at most two blocks' worth is asked for at once
 * @param onResend as ReassemblyEvents has it
 */
export function createResendPolicy(
  canSend: boolean,
  blockPackets: () => number,
  onResend: ((answered: boolean) => void) | undefined,
): ResendPolicy {
  let asking = canSend;
  let everAnswered = false;
  let unanswered = 0;
  let askAgainAt = Infinity;
  let toldUnanswered = false;
  let askable = Infinity;
  const allow = (more: number) => {
    askable = Math.min(askable + more, 2 * blockPackets());
  };
  return {
    asks(now) {
      if (now >= askAgainAt) {
        askAgainAt = Infinity;
        asking = true;
      }
      return asking;
    },
    take(wanted) {
      const taken = Math.min(wanted, Math.floor(askable));
      askable -= taken;
      return taken;
    },
    came: () => allow(ASK_SHARE),
    answered() {
      everAnswered = true;
      if (toldUnanswered) onResend?.(true);
      toldUnanswered = false;
    },
    passed: (ms) => allow(ms * ASK_PER_MS),
    gaveUp(now) {
      if (everAnswered) return;
      unanswered += 1;
      if (unanswered < UNANSWERED_BLOCKS) return;
      asking = false;
      unanswered = 0;
      askAgainAt = now + ASK_AGAIN_MS;
      if (!toldUnanswered) onResend?.(false);
      toldUnanswered = true;
    },
  };
}
