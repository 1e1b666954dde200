// What waits, counted in requests, bytes and tokens, and how much may.

import type { QueuedRequest } from "./contracts.ts";

/** Infinity: no limit. */
export interface QueueLimits {
  readonly requests: number;
  readonly bytes: number;
  /** Uncached prompt and expected answer. */
  readonly tokens: number;
}

export const UNLIMITED: QueueLimits = { requests: Infinity, bytes: Infinity, tokens: Infinity };

type Sized = Pick<QueuedRequest, "bytes" | "uncachedTokens" | "outputTokens">;

export class QueueLoad {
  requests = 0;
  bytes = 0;
  tokens = 0;

  add(request: Sized): void {
    this.#count(request, 1);
  }

  remove(request: Sized): void {
    this.#count(request, -1);
  }

  /** Whether `request` may wait here, too, once what `freed` counts has gone. */
  hasRoomFor(request: Sized, limits: QueueLimits, freed: Readonly<QueueLoad> = NOTHING): boolean {
    return (
      this.requests - freed.requests + 1 <= limits.requests &&
      this.bytes - freed.bytes + request.bytes <= limits.bytes &&
      this.tokens - freed.tokens + tokensOf(request) <= limits.tokens
    );
  }

  #count(request: Sized, sign: 1 | -1): void {
    this.requests += sign;
    this.bytes += sign * request.bytes;
    this.tokens += sign * tokensOf(request);
  }
}

const NOTHING = new QueueLoad();

function tokensOf({ uncachedTokens, outputTokens }: Sized): number {
  return uncachedTokens + outputTokens;
}

/** Whether it could wait in an empty queue. */
export function fitsAlone(request: Sized, limits: QueueLimits): boolean {
  return NOTHING.hasRoomFor(request, limits);
}
