import { readFileSync } from 'node:fs';

let known: string | undefined;

/** Version of this program, from package.json beside the source tree or the build. */
export function programVersion(): string {
  known ??= (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version;
  return known;
}
