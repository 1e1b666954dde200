// Clients that all ask at once and wait for their answer, each with a connection of its own.

import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "undici";
import { CHAT_PATH } from "../conversation.ts";
import type { Subject } from "../subjects.ts";
import { waitingHeaders } from "./stack.ts";

/** A unix socket refuses connections when too many have not been accepted. */
const WAVE = 250;
const POLL_MS = 20;
/** For a wave to arrive. */
const ARRIVE_MS_MAX = 60_000;

export class Crowd {
  readonly #subject: Subject;
  readonly #bodies: readonly string[];
  readonly #clients: Client[] = [];
  readonly #answers: Promise<void>[] = [];
  /** Of answers that were not expected, the first. */
  #refusal: string | undefined;
  #hasLeft = false;

  constructor(subject: Subject, bodies: readonly string[]) {
    this.#subject = subject;
    this.#bodies = bodies;
  }

  get size(): number {
    return this.#clients.length;
  }

  /** `count` more. Resolves when `arrivedCount` says that all of the crowd have arrived. */
  async join(count: number, arrivedCount: () => Promise<number>): Promise<void> {
    for (let left = count; left > 0; left -= WAVE) {
      for (let i = 0; i < Math.min(WAVE, left); i++) this.#answers.push(this.#ask());
      await this.#until(async () => (await arrivedCount()) >= this.size);
    }
  }

  /** Each has been served. */
  async served(): Promise<void> {
    await Promise.all(this.#answers);
    if (this.#refusal !== undefined) throw new Error(this.#refusal);
  }

  /** All close their connections. */
  async leave(): Promise<void> {
    this.#hasLeft = true;
    await Promise.all(this.#clients.map((client) => client.destroy()));
    await Promise.all(this.#answers);
  }

  async #ask(): Promise<void> {
    const { socketPath } = this.#subject;
    const index = this.size;
    const client = new Client("http://bench.invalid", { socketPath, headersTimeout: 0 });
    this.#clients.push(client);
    try {
      const answer = await client.request({
        path: CHAT_PATH,
        method: "POST",
        headers: {
          ...this.#subject.headers(index % this.#bodies.length),
          ...waitingHeaders(index),
          "content-type": "application/json",
        },
        body: this.#bodies[index % this.#bodies.length]!,
      });
      const text = await answer.body.text();
      if (answer.statusCode !== 200) this.#refusal ??= `${answer.statusCode}: ${text}`;
    } catch (error) {
      if (!this.#hasLeft) this.#refusal ??= String(error);
    }
  }

  async #until(hold: () => Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + ARRIVE_MS_MAX;
    while (!(await hold())) {
      if (this.#refusal !== undefined) throw new Error(this.#refusal);
      if (performance.now() > deadlineMs) throw new Error(`not all of ${this.size} have arrived`);
      await sleep(POLL_MS);
    }
  }
}
