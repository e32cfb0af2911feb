/** Set by main/host/build/build.mjs for a release. */
declare const __RELEASE_KEYS__: readonly string[] | undefined;

/** Public halves of the keys whose updates this program believes; none in a development build, which therefore believes no update. */
export const releaseKeys: readonly string[] = typeof __RELEASE_KEYS__ === 'undefined' ? [] : __RELEASE_KEYS__;
