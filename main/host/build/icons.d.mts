export const DRAWING: string;
export const WINDOWS_ICON: string;
export function iconAsPng(size: number): Promise<Buffer>;
export function makeWindowsIcon(file?: string): Promise<void>;
