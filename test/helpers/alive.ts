/** Whether a process with this id runs (a zombie that nobody reaped yet counts). */
export const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
