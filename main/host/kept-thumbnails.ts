/** Bytes that are kept: some ten thousand thumbnails of a list, which are a few kB each. */
const MOST_BYTES = 32 * 1024 * 1024;
/** px. Wider pictures are looked at one by one, and each would push out a hundred thumbnails. */
const WIDEST = 512;

type ReadImage = (sha: string, width: number | null) => Promise<Uint8Array>;

/**
 * Thumbnails that were asked for lately, in memory: each is made from the whole stored frame, and a list that is scrolled back or a
 * second window asks for the same ones again; no disk cache holds what the shell's app:// answers. The one that was not asked for
 * longest goes first. What is asked for twice at the same time is made once; a failure is not kept. One whose picture has been deleted
 * (lines keep so many of ok parts and delete the others themselves) is given to nobody.
 * @param isThere whether the picture is still stored
 */
export function keepThumbnails(
  read: ReadImage,
  isThere: (sha: string) => Promise<boolean>,
  mostBytes = MOST_BYTES,
): ReadImage {
  const kept = new Map<string, Uint8Array>();
  const underWay = new Map<string, Promise<Uint8Array>>();
  let bytes = 0;

  const make = async (key: string, sha: string, width: number): Promise<Uint8Array> => {
    try {
      const made = await read(sha, width);
      kept.set(key, made);
      bytes += made.byteLength;
      for (const [oldest, { byteLength }] of kept) {
        if (bytes <= mostBytes) break;
        kept.delete(oldest);
        bytes -= byteLength;
      }
      return made;
    } finally {
      underWay.delete(key);
    }
  };

  return async (sha, width) => {
    if (width === null || width > WIDEST) return read(sha, width);
    const key = `${sha}?w=${width}`;
    if (kept.has(key)) {
      const there = await isThere(sha);
      // Unless it went for want of room meanwhile.
      const known = kept.get(key);
      if (known) {
        // A map keeps the order in which its entries were set.
        kept.delete(key);
        if (there) {
          kept.set(key, known);
          return known;
        }
        bytes -= known.byteLength;
      }
    }
    let making = underWay.get(key);
    if (!making) {
      making = make(key, sha, width);
      underWay.set(key, making);
    }
    return making;
  };
}
