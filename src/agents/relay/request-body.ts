// Reads a request's body whole, with its hash: nothing unsigned may reach an engine, so the last
// byte must be here before the first one is sent on.

import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";

export type ReadBody =
  | { readonly ok: true; readonly bytes: Buffer; readonly sha256: string }
  | { readonly ok: false; readonly reason: "too-large" | "busy" | "cancelled" };

/**
 * Reads up to `bytesMax`, for which room is taken from `loan`: at once where the sender said how much it is, else
 * as it comes. Nothing is read of what is known to be too large, or to have no room. Never rejects.
 */
export async function readOnLoan(
  request: IncomingMessage,
  bytesMax: number,
  loan: BodyLoan,
): Promise<ReadBody> {
  const length = request.headers["content-length"];
  if (length === undefined) return readBody(request, bytesMax, (bytes) => loan.tryTake(bytes));
  const size = Number(length);
  if (size > bytesMax) return { ok: false, reason: "too-large" };
  return loan.tryTake(size) ? readBody(request, size) : { ok: false, reason: "busy" };
}

/** Reads up to `bytesMax`, as far as there is room for each chunk. Never rejects. */
export function readBody(
  request: IncomingMessage,
  bytesMax: number,
  tryTake: (bytes: number) => boolean = () => true,
): Promise<ReadBody> {
  const chunks: Buffer[] = [];
  let size = 0;
  return new Promise((resolve) => {
    // Listeners, not an iterator: that makes several promises and two more listeners a request.
    const settle = (read: ReadBody) => {
      request.off("data", take).off("end", end).off("close", close);
      resolve(read);
    };
    const take = (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size > bytesMax) settle({ ok: false, reason: "too-large" });
      else if (tryTake(chunk.byteLength)) chunks.push(chunk);
      else settle({ ok: false, reason: "busy" });
    };
    const end = () => {
      const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size);
      settle({ ok: true, bytes, sha256: hash("sha256", bytes, "hex") });
    };
    // The client hung up.
    const close = () => settle({ ok: false, reason: "cancelled" });
    request.on("data", take).on("end", end).on("close", close).on("error", ignore);
  });
}

/** An error is followed by `close`. */
function ignore(): void {}

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

/** What one request has taken of the budget, for its own body or for those of further legs. */
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
