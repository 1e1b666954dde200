// The real clock and the real randomness. Everything else takes them as arguments.

import type { Clock } from "../scheduler/support/clock.ts";

/** Unix ms. On Cloudflare it stands still between I/O. */
export const systemClock: Clock = () => Date.now();

/** `bytes` random bytes as lower-case hex. */
export function randomHex(bytes: number): string {
  return toHex(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** A seed for one decision's generator, 32 bits. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** SHA-256 of the text's UTF-8 bytes as lower-case hex. */
export async function sha256Hex(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return toHex(new Uint8Array(digest));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
