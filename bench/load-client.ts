// Sends a benchmark's requests to one subject.

import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { CHAT_PATH } from "./conversation.ts";
import type { Target } from "./subjects.ts";

/** workerd answers a moment after its process has started. */
const START_MS_MAX = 10_000;

/** A request that is ready to be sent, once. */
interface PreparedRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class LoadClient {
  readonly subject: Target;
  readonly #pool: Pool;
  readonly #bodies: readonly string[];
  readonly #headers: Readonly<Record<string, string>>;
  readonly #status: number;
  #prepared = 0;

  constructor(
    subject: Target,
    options: {
      /** Sent in turn; the ones that the subject was started for. */
      readonly bodies: readonly string[];
      readonly connections: number;
      readonly isStream: boolean;
      /** Besides the subject's own. */
      readonly headers?: Readonly<Record<string, string>>;
      /** Of each answer; 200 unless said otherwise. */
      readonly status?: number;
    },
  ) {
    this.subject = subject;
    this.#bodies = options.bodies;
    const accept = options.isStream ? "text/event-stream" : "application/json";
    this.#headers = { "content-type": "application/json", accept, ...options.headers };
    this.#status = options.status ?? 200;
    const { address = "bench.invalid", socketPath } = subject;
    this.#pool = new Pool(`http://${address}`, {
      ...(socketPath === undefined ? {} : { socketPath }),
      connections: options.connections,
      pipelining: 1,
    });
  }

  /** What can be done before a measurement begins. Signatures expire: prepare one round at a time. */
  prepare(requests: number): PreparedRequest[] {
    return Array.from({ length: requests }, () => {
      const index = this.#prepared++ % this.#bodies.length;
      return {
        headers: { ...this.subject.headers(index), ...this.#headers },
        body: this.#bodies[index]!,
      };
    });
  }

  /** Sends all, at most `lanes` at a time, and reads the answers. Rejects unless each is as expected. */
  async send(requests: readonly PreparedRequest[], lanes: number): Promise<void> {
    const next = requests.values();
    const lane = async () => {
      for (const request of next) await this.#sendOne(request);
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }

  async untilAnswers(): Promise<void> {
    const deadlineMs = performance.now() + START_MS_MAX;
    for (;;) {
      try {
        await this.send(this.prepare(1), 1);
        return;
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
      }
      await sleep(50);
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  async #sendOne({ headers, body }: PreparedRequest): Promise<void> {
    const answer = await this.#pool.request({ path: CHAT_PATH, method: "POST", headers, body });
    const text = await answer.body.text();
    if (answer.statusCode !== this.#status) {
      const { name } = this.subject;
      throw new Error(`${name} answered ${answer.statusCode}: ${text.slice(0, 200)}`);
    }
  }
}
