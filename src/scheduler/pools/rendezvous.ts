// Weighted rendezvous hashing: which pool a session, or a prefix that nobody holds, is drawn to.
//
//   drawn = the pool with the largest  −weight / ln u      u = hash of session and pool, uniform in (0, 1)
//
// Every isolate draws the same one without asking anybody. A pool is drawn in proportion to its weight;
// one that leaves passes on its own sessions and no others, and one whose weight changes those that the
// change is worth.
//
// Source: Thaler and Ravishankar (1998); logarithmic weights as of Schindelhauer and Schomaker (2005).

/** FNV-1a over UTF-16 units. */
export function hashOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

/** The larger, the rather drawn. `low` and `high` are of what is drawn, `nameHash` of the pool. */
export function drawOf(low: number, high: number, nameHash: number, weight: number): number {
  let hash = mix(low ^ nameHash);
  hash = mix(hash ^ high ^ Math.imul(nameHash, 0x9e37_79b9));
  return -weight / Math.log((hash + 0.5) / 2 ** 32);
}

function mix(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0_aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a_2d97);
  return (hash ^ (hash >>> 15)) >>> 0;
}
