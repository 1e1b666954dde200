// A decoder's calls to a prefiller's side channel.

import { Agent, request } from "undici";

/** Claims wait on the other side; this is only for the rest of an answer. */
const MARGIN_MS = 5_000;
/** Of a call that does not wait. */
const CALL_MS_MAX = 5_000;
/** Idle connections would keep a process that ends from ending. */
const KEEP_ALIVE_MS = 1_000;

/** Where a prompt is. */
export interface PromptPlace {
  /** `host:port` of a side channel or bootstrap port. */
  readonly peer: string;
  readonly name: string;
}

export class PeerClient {
  readonly #agent = new Agent({
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: 0,
    bodyTimeout: CALL_MS_MAX,
  });

  /** The prompt's tokens; undefined if it cannot be had. Never rejects. */
  async claim(
    place: PromptPlace,
    asked: { readonly blockIds: readonly number[] | undefined; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<boolean> {
    const timeout = AbortSignal.timeout(Math.ceil(asked.waitMs) + MARGIN_MS);
    return this.#post(place, "claim", { ...asked }, AbortSignal.any([signal, timeout]));
  }

  /** Whether it is still held. Never rejects. */
  async renew(place: PromptPlace): Promise<boolean> {
    return this.#post(place, "renew", {}, AbortSignal.timeout(CALL_MS_MAX));
  }

  /** False if it was gone before. Never rejects. */
  async done(place: PromptPlace): Promise<boolean> {
    return this.#post(place, "done", {}, AbortSignal.timeout(CALL_MS_MAX));
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #post(
    { peer, name }: PromptPlace,
    call: string,
    fields: object,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      const answer = await request(`http://${peer}/${call}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ name, ...fields }),
        dispatcher: this.#agent,
        signal,
      });
      await answer.body.dump();
      return answer.statusCode === 200;
    } catch {
      // Nobody listens there, it broke, or it took too long: all the same to who wants the prompt.
      return false;
    }
  }
}
