import { z } from 'zod';
import { sha256 } from '../audit/canonical.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';

/*
 * Bundles in a registry, as artifacts of the OCI Distribution Specification 1.1 (sections "Pushing" and "Pulling"): one layer, which is the bundle file. A registry only carries them: whether a bundle
 * is whole and whose it is says its own signature. Only what a command asks for goes over the network, and only to the registry that it names.
 */

const BUNDLE = 'application/vnd.mekiki.bundle.v1';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** The specification's empty descriptor: `{}`. */
const EMPTY = Buffer.from('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const MAX_MANIFEST = 1024 * 1024;
const MAX_BUNDLE = 512 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

export interface RegistryRef {
  host: string;
  name: string;
  /** Tag, or `sha256:…`. */
  reference: string;
}

const refPattern =
  /^([a-zA-Z0-9.-]+(?::\d{1,5})?|\[[0-9a-fA-F:]+\](?::\d{1,5})?)\/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([\w][\w.-]{0,127})|@(sha256:[0-9a-f]{64}))?$/;

/** `host[:port]/name[:tag|@sha256:…]`; without either: `latest`. INVALID_INPUT. */
export const parseRef = (text: string): RegistryRef => {
  const found = refPattern.exec(text);
  if (found === null) {
    throw new AppError('INVALID_INPUT', {
      what: text.slice(0, 200),
      problem: 'give host[:port]/name[:tag], in small letters after the host',
    });
  }
  const [, host, name, tag, digest] = found;
  return { host: host!, name: name!, reference: digest ?? tag ?? 'latest' };
};

export interface RegistryOptions {
  /** Basic, or exchanged for a token where the registry asks for one. */
  user?: string | undefined;
  password?: string | undefined;
  /** HTTP without TLS; on this PC it is always so. */
  plainHttp?: boolean;
  signal?: AbortSignal | undefined;
}

const isLocal = (host: string): boolean => /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host);
const digestOf = (bytes: Uint8Array): string => `sha256:${sha256(bytes)}`;

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  layers: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
      size: z.number().int().min(1).max(MAX_BUNDLE),
    }),
  ),
});

interface Request {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
  /** Statuses that are an answer; any other one is REGISTRY_FAILED. */
  accept: readonly number[];
}

/** One repository of a registry. */
const connect = ({ host, name }: RegistryRef, options: RegistryOptions) => {
  const base = `${options.plainHttp === true || isLocal(host) ? 'http' : 'https'}://${host}`;
  const failed = (problem: string, cause?: unknown) =>
    new AppError('REGISTRY_FAILED', { registry: host, name, problem }, { cause });
  const basic =
    options.user === undefined
      ? null
      : `Basic ${Buffer.from(`${options.user}:${options.password ?? ''}`).toString('base64')}`;
  let authorization: string | null = null;

  const ask = async (url: URL, { method, headers = {}, body }: Request): Promise<Response> => {
    const own = url.origin === new URL(base).origin;
    const signals = [AbortSignal.timeout(TIMEOUT_MS), ...(options.signal ? [options.signal] : [])];
    try {
      return await fetch(url, {
        method,
        // A password never goes anywhere but to the registry that was named.
        headers: { ...headers, ...(authorization !== null && own && { authorization }) },
        signal: AbortSignal.any(signals),
        ...(body && { body: new Uint8Array(body) }),
      });
    } catch (error) {
      options.signal?.throwIfAborted();
      throw failed(problemOf((error as { cause?: unknown }).cause ?? error), error);
    }
  };

  /** Answers the challenge of a 401 (RFC 7235; token flow of the Distribution project); null: nothing to answer with. */
  const answer = async (challenge: string): Promise<string | null> => {
    if (/^basic\b/i.test(challenge)) return basic;
    const field = (key: string) => new RegExp(`${key}="([^"]*)"`, 'i').exec(challenge)?.[1];
    const realm = field('realm');
    if (!/^bearer\b/i.test(challenge) || realm === undefined) return null;
    const url = new URL(realm);
    if (url.protocol !== 'https:' && !isLocal(url.host)) throw failed('it sends passwords to a place without TLS');
    url.searchParams.set('scope', field('scope') ?? `repository:${name}:pull,push`);
    const service = field('service');
    if (service !== undefined) url.searchParams.set('service', service);
    const response = await fetch(url, {
      headers: basic === null ? {} : { authorization: basic },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) return null;
    const { token, access_token: other } = z
      .object({ token: z.string().optional(), access_token: z.string().optional() })
      .parse(await response.json());
    return `Bearer ${token ?? other ?? ''}`;
  };

  const request = async (what: Request): Promise<Response> => {
    const url = new URL(what.path, base);
    let response = await ask(url, what);
    if (response.status === 401 && authorization === null) {
      await response.body?.cancel();
      authorization = await answer(response.headers.get('www-authenticate') ?? '');
      if (authorization !== null) response = await ask(url, what);
    }
    if (what.accept.includes(response.status)) return response;
    const text = (await response.text()).slice(0, 300);
    throw failed(`${what.method} ${url.pathname}: status ${response.status}${text === '' ? '' : `, ${text}`}`);
  };

  /** The body, of exactly this digest; never more than `most` bytes are read. */
  const read = async (response: Response, most: number, digest: string | null): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    const reader = response.body?.getReader();
    for (;;) {
      const part = await reader?.read();
      if (!part || part.done) break;
      size += part.value.length;
      if (size > most) {
        await reader!.cancel();
        throw failed(`it sends more than ${most} bytes`);
      }
      chunks.push(part.value);
    }
    const bytes = Buffer.concat(chunks);
    if (digest !== null && digestOf(bytes) !== digest) throw failed(`what it sent is not ${digest}`);
    return bytes;
  };
  return { base, request, read, failed };
};

/** Gives the manifest's digest, which names exactly this content. REGISTRY_FAILED. */
export const pushBundle = async (
  ref: RegistryRef,
  bytes: Uint8Array,
  { title, ...options }: RegistryOptions & { title: string },
): Promise<{ digest: string }> => {
  const { base, request, failed } = connect(ref, options);
  if (ref.reference.startsWith('sha256:')) throw failed('a push needs a tag, not a digest');
  const blobs = `/v2/${ref.name}/blobs`;
  const upload = async (blob: Uint8Array): Promise<string> => {
    const digest = digestOf(blob);
    const there = await request({ method: 'HEAD', path: `${blobs}/${digest}`, accept: [200, 404] });
    if (there.status === 200) return digest;
    const begun = await request({ method: 'POST', path: `${blobs}/uploads/`, accept: [202] });
    const location = begun.headers.get('location');
    if (location === null) throw failed('it names no place for the upload');
    const place = new URL(location, base);
    place.searchParams.set('digest', digest);
    await request({
      method: 'PUT',
      path: place.href,
      headers: { 'content-type': 'application/octet-stream' },
      body: blob,
      accept: [201],
    });
    return digest;
  };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      artifactType: BUNDLE,
      config: { mediaType: EMPTY_TYPE, digest: await upload(EMPTY), size: EMPTY.length },
      layers: [
        {
          mediaType: BUNDLE,
          digest: await upload(bytes),
          size: bytes.length,
          annotations: { 'org.opencontainers.image.title': title },
        },
      ],
    }),
  );
  await request({
    method: 'PUT',
    path: `/v2/${ref.name}/manifests/${ref.reference}`,
    headers: { 'content-type': MANIFEST },
    body: manifest,
    accept: [201],
  });
  return { digest: digestOf(manifest) };
};

/** The bundle's bytes, as their digest says; what they are worth is for `openBundle`. REGISTRY_FAILED, NOT_FOUND. */
export const pullBundle = async (
  ref: RegistryRef,
  options: RegistryOptions = {},
): Promise<{ bytes: Buffer; digest: string }> => {
  const { request, read, failed } = connect(ref, options);
  const asked = await request({
    method: 'GET',
    path: `/v2/${ref.name}/manifests/${ref.reference}`,
    headers: { accept: MANIFEST },
    accept: [200, 404],
  });
  if (asked.status === 404) throw new AppError('NOT_FOUND', { kind: 'bundle', id: `${ref.name}:${ref.reference}` });
  const wanted = ref.reference.startsWith('sha256:') ? ref.reference : null;
  const manifestBytes = await read(asked, MAX_MANIFEST, wanted);
  let layers: z.infer<typeof manifestSchema>['layers'];
  try {
    ({ layers } = manifestSchema.parse(JSON.parse(manifestBytes.toString('utf8'))));
  } catch (cause) {
    if (isAppError(cause)) throw cause;
    throw failed('its manifest cannot be read', cause);
  }
  const layer = layers.find(({ mediaType }) => mediaType === BUNDLE);
  if (layer === undefined) throw failed('what lies there is no Mekiki bundle');
  const response = await request({ method: 'GET', path: `/v2/${ref.name}/blobs/${layer.digest}`, accept: [200] });
  return { bytes: await read(response, layer.size, layer.digest), digest: digestOf(manifestBytes) };
};
