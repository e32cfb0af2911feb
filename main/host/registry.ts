import { z } from 'zod';
import { sha256 } from '../audit/canonical.ts';
import { BUNDLE_BYTES_AT_MOST } from '../contract/bundle.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';

/*
 * Bundles in a registry, as artifacts of the OCI Distribution Specification 1.1 (sections "Pushing" and "Pulling"): one layer, which is the bundle file. A registry only carries them: whether a bundle
 * is whole and whose it is says its own signature. Only what a command asks for goes over the network, and only to the registry that it names, with the token service that it names.
 */

const BUNDLE = 'application/vnd.mekiki.bundle.v1';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** The specification's empty descriptor: `{}`. */
const EMPTY = Buffer.from('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const MAX_MANIFEST = 1024 * 1024;
/** A plant's network may be slow: what counts is not how long it takes, but how long nothing comes and nothing goes. */
const QUIET_MS = 60_000;
/** Pieces in which a body is sent: each that the network takes shows that it goes on. */
const PIECE_BYTES = 64 * 1024;
const MAX_EXCERPT = 300;

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
  if (found === null || !URL.canParse(`https://${found[1]}`)) {
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
  /** `host[:port]` of the token service, where it is not the registry's own. */
  tokenHost?: string | undefined;
  /** HTTP without TLS; on this PC it is always so. */
  plainHttp?: boolean;
  signal?: AbortSignal | undefined;
  /** Longest silence of the registry. */
  quietMs?: number;
}

const isLocal = (host: string): boolean => /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host);
const digestOf = (bytes: Uint8Array): string => `sha256:${sha256(bytes)}`;

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  layers: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
      size: z.number().int().min(1).max(BUNDLE_BYTES_AT_MOST),
    }),
  ),
});

interface Request {
  method: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
}

interface Asked extends Request {
  path: string;
  /** Statuses that are an answer; any other one is REGISTRY_FAILED. */
  accept: readonly number[];
}

/** What a server answered. Its body has to be read or dropped. */
interface Answer {
  status: number;
  headers: Headers;
  /** At most so many bytes of the body; `more`: there were others. */
  read(most: number): Promise<{ bytes: Buffer; more: boolean }>;
  drop(): Promise<void>;
}

/** Aborts when nothing was told for so long. */
const watchSilence = (quietMs: number, signal: AbortSignal | undefined) => {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), quietMs);
  return {
    signal: AbortSignal.any([silence.signal, ...(signal ? [signal] : [])]),
    get silent() {
      return silence.signal.aborted;
    },
    alive: () => void timer.refresh(),
    end: () => clearTimeout(timer),
  };
};

/** A body in pieces. @param taken told of each piece that is asked for */
const inPieces = (bytes: Uint8Array, taken: () => void): ReadableStream<Uint8Array> => {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      taken();
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + PIECE_BYTES));
      at += PIECE_BYTES;
    },
  });
};

/** One repository of a registry. */
const connect = ({ host, name }: RegistryRef, options: RegistryOptions) => {
  const { quietMs = QUIET_MS } = options;
  const base = new URL(`${options.plainHttp === true || isLocal(host) ? 'http' : 'https'}://${host}`);
  const failed = (problem: string, cause?: unknown) =>
    new AppError('REGISTRY_FAILED', { registry: host, name, problem }, { cause });
  const basic =
    options.user === undefined
      ? null
      : `Basic ${Buffer.from(`${options.user}:${options.password ?? ''}`).toString('base64')}`;
  let authorization: string | null = null;

  /** An address as the registry gave it, which may be anything. */
  const addressOf = (text: string): URL => {
    if (!URL.canParse(text, base.href)) throw failed(`"${text.slice(0, MAX_EXCERPT)}" is no address`);
    return new URL(text, base);
  };

  /** One exchange, which may take as long as it likes while bytes come or go. */
  const exchange = async (url: URL, { method, headers = {}, body }: Request): Promise<Answer> => {
    const watch = watchSilence(quietMs, options.signal);
    const broken = (error: unknown, got: string) => {
      watch.end();
      options.signal?.throwIfAborted();
      const problem = watch.silent
        ? `${method} ${url.pathname}: nothing came or went for ${quietMs / 1000} s${got}`
        : problemOf((error as { cause?: unknown }).cause ?? error);
      return failed(problem, error);
    };
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: { ...headers, ...(body && { 'content-length': `${body.length}` }) },
        signal: watch.signal,
        ...(body && { body: inPieces(body, watch.alive), duplex: 'half' }),
      } as RequestInit);
    } catch (error) {
      throw broken(error, '');
    }
    watch.alive();
    const reader = response.body?.getReader();
    const drop = async () => {
      watch.end();
      await reader?.cancel();
    };
    return {
      status: response.status,
      headers: response.headers,
      drop,
      async read(most) {
        const chunks: Uint8Array[] = [];
        let size = 0;
        try {
          for (let part = await reader?.read(); part && !part.done; part = await reader!.read()) {
            watch.alive();
            chunks.push(part.value);
            size += part.value.length;
            if (size > most) break;
          }
          await drop();
        } catch (error) {
          throw broken(error, `, after ${size} bytes`);
        }
        return { bytes: Buffer.concat(chunks).subarray(0, most), more: size > most };
      },
    };
  };

  /** What proves who asks goes to the registry alone, wherever an upload is sent. */
  const ask = (url: URL, { headers = {}, ...what }: Request): Promise<Answer> => {
    const own = url.origin === base.origin;
    return exchange(url, { ...what, headers: { ...headers, ...(authorization !== null && own && { authorization }) } });
  };

  /** A password goes to hosts that a person named: a challenge could name any, and without TLS anybody on the way writes it. */
  const refuseOtherService = (url: URL): void => {
    if (url.origin === base.origin) return;
    if (url.host !== base.host && url.host !== options.tokenHost?.toLowerCase())
      throw failed(`it asks for the account at ${url.origin}; if that is right, name it with --token-host ${url.host}`);
    if (url.protocol !== 'https:' && !isLocal(url.host)) throw failed('it sends passwords to a place without TLS');
  };

  /** Answers the challenge of a 401 (RFC 7235; token flow of the Distribution project); null: nothing to answer with. */
  const answer = async (challenge: string): Promise<string | null> => {
    if (/^basic\b/i.test(challenge)) return basic;
    const field = (key: string) => new RegExp(`${key}="([^"]*)"`, 'i').exec(challenge)?.[1];
    const realm = field('realm');
    if (!/^bearer\b/i.test(challenge) || realm === undefined) return null;
    const url = addressOf(realm);
    refuseOtherService(url);
    url.searchParams.set('scope', field('scope') ?? `repository:${name}:pull,push`);
    const service = field('service');
    if (service !== undefined) url.searchParams.set('service', service);
    const response = await exchange(url, {
      method: 'GET',
      headers: basic === null ? {} : { authorization: basic },
    });
    const { bytes } = await response.read(MAX_MANIFEST);
    if (response.status !== 200) return null;
    try {
      const { token, access_token: other } = z
        .object({ token: z.string().optional(), access_token: z.string().optional() })
        .parse(JSON.parse(bytes.toString('utf8')));
      return `Bearer ${token ?? other ?? ''}`;
    } catch (cause) {
      throw failed(`what ${url.host} gave as its token cannot be read`, cause);
    }
  };

  const request = async ({ path, accept, ...what }: Asked): Promise<Answer> => {
    const url = new URL(path, base);
    let response = await ask(url, what);
    // A token is good for what was asked first, which is to look, and for some minutes: each request may need another one.
    if (response.status === 401) {
      await response.drop();
      authorization = await answer(response.headers.get('www-authenticate') ?? '');
      if (authorization !== null) response = await ask(url, what);
    }
    if (accept.includes(response.status)) return response;
    const text = (await response.read(MAX_EXCERPT)).bytes.toString('utf8');
    throw failed(`${what.method} ${url.pathname}: status ${response.status}${text === '' ? '' : `, ${text}`}`);
  };
  /** Where the answer's head says all. */
  const headOf = async (asked: Asked): Promise<Pick<Answer, 'status' | 'headers'>> => {
    const response = await request(asked);
    await response.drop();
    return response;
  };

  /** The body, of exactly this digest; never more than `most` bytes are read. */
  const read = async (response: Answer, most: number, digest: string | null): Promise<Buffer> => {
    const { bytes, more } = await response.read(most);
    if (more) throw failed(`it sends more than ${most} bytes`);
    if (digest !== null && digestOf(bytes) !== digest) throw failed(`what it sent is not ${digest}`);
    return bytes;
  };
  return { addressOf, request, headOf, read, failed };
};

/** Gives the manifest's digest, which names exactly this content. REGISTRY_FAILED. */
export const pushBundle = async (
  ref: RegistryRef,
  bytes: Uint8Array,
  { title, ...options }: RegistryOptions & { title: string },
): Promise<{ digest: string }> => {
  const { addressOf, headOf, failed } = connect(ref, options);
  if (ref.reference.startsWith('sha256:')) throw failed('a push needs a tag, not a digest');
  const blobs = `/v2/${ref.name}/blobs`;
  const upload = async (blob: Uint8Array): Promise<string> => {
    const digest = digestOf(blob);
    const there = await headOf({ method: 'HEAD', path: `${blobs}/${digest}`, accept: [200, 404] });
    if (there.status === 200) return digest;
    const begun = await headOf({ method: 'POST', path: `${blobs}/uploads/`, accept: [202] });
    const location = begun.headers.get('location');
    if (location === null) throw failed('it names no place for the upload');
    const place = addressOf(location);
    place.searchParams.set('digest', digest);
    await headOf({
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
  await headOf({
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
  if (asked.status === 404) {
    await asked.drop();
    throw new AppError('NOT_FOUND', { kind: 'bundle', id: `${ref.name}:${ref.reference}` });
  }
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
