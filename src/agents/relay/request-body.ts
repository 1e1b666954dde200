// Reads a request's body whole, with its hash: nothing unsigned may reach an engine, so the last
// byte must be here before the first one is sent on.

import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";

export type ReadBody =
  | { readonly ok: true; readonly bytes: Buffer; readonly sha256: string }
  | { readonly ok: false; readonly reason: "too-large" | "cancelled" };

/** Reads up to `bytesMax`. Never rejects. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<ReadBody> {
  const hash = createHash("sha256");
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > bytesMax) return { ok: false, reason: "too-large" };
      hash.update(chunk);
      chunks.push(chunk);
    }
  } catch {
    // The client hung up.
    return { ok: false, reason: "cancelled" };
  }
  const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size);
  return { ok: true, bytes, sha256: hash.digest("hex") };
}

/** Bytes of bodies in memory, over all requests. */
export class BodyBudget {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Takes `bytes` if they fit. */
  tryTake(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** What one request has taken of the budget besides its own body: the bodies of further legs. */
export class BodyLoan {
  readonly #budget: BodyBudget;
  #bytes = 0;

  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }

  tryTake(bytes: number): boolean {
    if (!this.#budget.tryTake(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  /** Gives everything back. May be called again. */
  release(): void {
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
  }
}
