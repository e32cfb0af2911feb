import chromium from '@sparticuz/chromium';

/** Before the first test: the browser is unpacked where it is first asked for, and a second file that asks meanwhile would start half of it. */
export const setup = async (): Promise<void> => void (await chromium.executablePath());
