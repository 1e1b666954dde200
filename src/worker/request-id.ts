// Our request ids, which name the pool and the shard that decided, so that `explain` finds its
// object without asking all of them:
//
//   fl-1a2b3c4d-00-0123456789abcdef0123456789abcdef
//      │        │  └ 128 random bits
//      │        └ shard of the pool's object
//      └ pool tag: FNV-1a (32 bits) of the pool's name; 00000000 before a pool was asked

const NO_SHARD = "00";
const NO_POOL = "00000000";
/** Where the random part of one of our ids begins. */
const RANDOM_AT = "fl-00000000-00-".length;
const PATTERN = /^fl-([0-9a-f]{8})-([0-9a-f]{2})-([0-9a-f]{32})$/;

/** A client's own id is echoed up to this length. */
export const CLIENT_REQUEST_ID_CHARS_MAX = 128;
const CLIENT_PATTERN = new RegExp(`^[\\x21-\\x7e]{1,${CLIENT_REQUEST_ID_CHARS_MAX}}$`);

/** Names a pool in request ids. Two pools can share a tag: whoever looks one up must try both. */
export function poolTag(pool: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < pool.length; i++) {
    hash = Math.imul(hash ^ pool.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** An id for a request that no pool was asked about yet. `random` is 32 hex digits. */
export function createRequestId(random: string): string {
  return `fl-${NO_POOL}-${NO_SHARD}-${random}`;
}

/** The same request, now asked of one of the shards of the pool with this tag. */
export function requestIdAt(requestId: string, tag: string, shard = 0): string {
  const digits = shard.toString(16).padStart(2, "0");
  return `fl-${tag}-${digits}-${requestId.slice(RANDOM_AT)}`;
}

/** A seed for what is drawn on the request's account: the same for the same request, whatever the pool. */
export function requestSeed(requestId: string): number {
  return Number.parseInt(requestId.slice(RANDOM_AT, RANDOM_AT + 8), 16);
}

/** The pool tag and the shard in one of our ids; undefined for anything else. */
export function parseRequestId(
  text: string,
): { readonly poolTag: string; readonly shard: number } | undefined {
  const match = PATTERN.exec(text);
  return match === null ? undefined : { poolTag: match[1]!, shard: Number.parseInt(match[2]!, 16) };
}

/** A client's `x-request-id`, if it is one we are willing to repeat in headers and logs. */
export function parseClientRequestId(header: string | null): string | undefined {
  return header !== null && CLIENT_PATTERN.test(header) ? header : undefined;
}
