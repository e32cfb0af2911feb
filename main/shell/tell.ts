import { BrowserWindow, dialog, type MessageBoxOptions } from 'electron';

/**
 * Shows words over the window until somebody closes them. Electron's own box for errors would hold up this process meanwhile: the supervisor,
 * through which lines and core speak to each other, and a signal that asks for the end.
 */
export async function tell(options: Pick<MessageBoxOptions, 'type' | 'message' | 'detail'>): Promise<void> {
  const window = BrowserWindow.getAllWindows().find((each) => each.isVisible());
  const all = { title: 'Mekiki', ...options };
  await (window === undefined ? dialog.showMessageBox(all) : dialog.showMessageBox(window, all));
}
