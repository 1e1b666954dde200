// A number that a hand-off's name decides: spread evenly over names, and the same for the same name.

import { createHash } from "node:crypto";

/** An integer from 0 to `count` - 1; at most 2^53 of them. */
export function chosenNumber(transferId: string, count: number): number {
  const digest = createHash("sha256").update(transferId).digest();
  return Number(digest.readBigUInt64BE(0) % BigInt(count));
}
