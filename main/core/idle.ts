import type { Role } from '../contract/domain.ts';
import type { Session } from './port.ts';

/**
 * Minutes without anybody at the window after which it is signed out. Operators stay: their screen is the line's own, watched and touched all shift, and an operator can neither
 * label, approve nor configure.
 */
const MINUTES: Record<Role, number | null> = {
  operator: null,
  technician: 30,
  engineer: 30,
  supervisor: 15,
  auditor: 15,
};

export interface Idle {
  /** Somebody is there. The first call makes the session one that can time out: a command of the command line never is one, it ends by itself. */
  active(session: Session): void;
  isOver(session: Session): boolean;
}

export const createIdle = (now: () => Date): Idle => {
  const lastActive = new WeakMap<Session, number>();
  return {
    active: (session) => void lastActive.set(session, now().getTime()),
    isOver(session) {
      const since = lastActive.get(session);
      const minutes = session.user === null ? null : MINUTES[session.user.role];
      if (since === undefined || minutes === null) return false;
      const passed = now().getTime() - since;
      // A clock that was set back gives no endless session: the time counts anew from now.
      if (passed < 0) lastActive.set(session, now().getTime());
      return passed >= minutes * 60_000;
    },
  };
};
