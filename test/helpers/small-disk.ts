import { execFileSync } from 'node:child_process';

/** A disk of its own, so small that it is full at once; null: this account may not mount one. */
export function smallDisk(at: string, size: string): (() => void) | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', at], { stdio: 'pipe' });
    return () => void execFileSync('umount', [at], { stdio: 'pipe' });
  } catch {
    return null;
  }
}
