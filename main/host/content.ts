import { existsSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { isAppError } from '../contract/errors.ts';

/*
 * What a window loads by URL: the built renderer and the images of the home. The loopback server and the shell's app://
 * protocol both answer from here, with the same headers.
 */

export interface ContentAnswer {
  status: number;
  headers: Record<string, string>;
  body: Uint8Array | string;
}

export interface ContentOptions {
  /** Folder of the built renderer. */
  rendererDir: string;
  home: string;
  /** Thumbnails. @throws NOT_FOUND */
  readImage(sha: string, width: number): Promise<Uint8Array>;
  /** Whether readImage would be answered now. */
  coreUp(): boolean;
  /** Where the page may connect to, beside where it came from. */
  connect?: string;
  /** The page may ask for the camera. Default: no page may. */
  camera?: boolean;
  /** What the root shows. Default: /index.html. */
  page?: string;
}

const mediaTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
};

/** Nothing but what the program brings; `style-src-attr` alone is inline: bars and positions are set as style attributes. */
const policy = (connect: string) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "style-src-attr 'unsafe-inline'",
    "img-src 'self' blob: data:",
    "font-src 'self'",
    `connect-src 'self' ${connect}`.trim(),
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

export const securityHeaders = (connect = '', camera = false): Record<string, string> => ({
  'Content-Security-Policy': policy(connect),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': `camera=${camera ? '(self)' : '()'}, microphone=(), geolocation=(), usb=(), serial=(), hid=()`,
});

/** By the first bytes: thumbnails are what the core chose to make. */
function imageType(bytes: Uint8Array): string {
  if (bytes[0] === 0x89) return 'image/png';
  if (bytes[0] === 0xff) return 'image/jpeg';
  return 'image/webp';
}

const IMAGE = /^\/image\/([0-9a-f]{64})$/;
export const FOREVER = 'private, max-age=31536000, immutable';

export type Content = (url: URL) => Promise<ContentAnswer>;

export function createContent(options: ContentOptions): Content {
  const { rendererDir, home, readImage, coreUp, connect = '', camera = false, page = '/index.html' } = options;
  const safe = securityHeaders(connect, camera);
  const text = (status: number, body: string): ContentAnswer => ({
    status,
    headers: { ...safe, 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' },
    body,
  });
  const missing = () => text(404, 'Not found.');

  const image = async (sha: string, width: string | null): Promise<ContentAnswer> => {
    const answer = (body: Uint8Array): ContentAnswer => ({
      status: 200,
      headers: { ...safe, 'Content-Type': imageType(body), 'Cache-Control': FOREVER },
      body,
    });
    if (width === null)
      // The name is the hash of the content and holds hexadecimal digits only: it cannot point anywhere else.
      return readFile(join(home, 'images', sha.slice(0, 2), `${sha}.png`)).then(answer, missing);
    const pixels = Number(width);
    if (!/^\d{2,4}$/.test(width) || pixels < 16 || pixels > 4096) return text(400, 'w is a width from 16 to 4096.');
    if (!coreUp()) return { ...text(503, 'The core is being restarted.'), headers: { ...safe, 'Retry-After': '1' } };
    try {
      return answer(await readImage(sha, pixels));
    } catch (error) {
      if (isAppError(error, 'NOT_FOUND')) return missing();
      if (isAppError(error)) return text(503, error.message);
      throw error;
    }
  };

  const file = async (path: string): Promise<ContentAnswer> => {
    const type = mediaTypes[extname(path)];
    if (!type || path.includes('\0')) return missing();
    let body: Buffer;
    try {
      const root = await realpath(rendererDir);
      const found = await realpath(join(root, path));
      // Also where a link inside the folder leads out of it.
      if (!found.startsWith(root + sep)) return missing();
      body = await readFile(found);
    } catch {
      return missing();
    }
    // Names under assets/ carry a hash of their content (Vite).
    const caching = path.startsWith('/assets/') ? FOREVER : 'no-cache';
    return { status: 200, headers: { ...safe, 'Content-Type': type, 'Cache-Control': caching }, body };
  };

  return async (url) => {
    const asked = IMAGE.exec(url.pathname);
    if (asked) return image(asked[1]!, url.searchParams.get('w'));
    let path: string;
    try {
      path = decodeURIComponent(url.pathname);
    } catch {
      return text(400, 'The address is not valid.');
    }
    if (path !== '/') return file(path);
    return existsSync(join(rendererDir, page))
      ? file(page)
      : text(503, 'The window is not built yet: run "npm run build".');
  };
}
