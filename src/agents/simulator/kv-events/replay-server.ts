// Gives published batches again to whoever missed some: a ROUTER socket.
//
//   request    identity, empty, first sequence wanted
//   reply      identity, empty, [topic,] sequence, payload     one message a batch
//   the last   identity, empty, [empty,] FF×8, empty
//
// The topic is there from vLLM 0.26 on. Requests are answered one after the other, as in vLLM; a
// client that stops reading holds up the next one for SEND_TIMEOUT_MS, then it gets no more.

import { setTimeout as sleep } from "node:timers/promises";
import { Router, type MessageLike } from "zeromq";
import type { Logger } from "../../process/logger.ts";
import type { BatchHistory } from "./batch-history.ts";
import { bind, rebind, sequenceFrame } from "./sockets.ts";

const SEND_TIMEOUT_MS = 2_000;
const SEND_RETRY_MS = 5;
/** Messages on the way to one client. There is room again when half of them have left. */
const HIGH_WATER_MARK = 64;
/** A request's frames are small; a peer that sends more is cut off. */
const REQUEST_BYTES_MAX = 1_024;
const EMPTY = Buffer.alloc(0);
const END = Buffer.alloc(8, 0xff);

export interface ReplayOptions {
  readonly endpoint: string;
  readonly topic: string;
  /** Whether replies begin with the topic. */
  readonly hasTopic: boolean;
  readonly history: BatchHistory;
  readonly logger: Logger;
}

export class ReplayServer {
  readonly #options: ReplayOptions;
  /** Mandatory: a ROUTER that is not drops what a slow client has no room for, which makes holes. */
  #router = createRouter();
  #answering: Promise<void> = Promise.resolve();
  #endpoint = "";
  #servedCount = 0;

  private constructor(options: ReplayOptions) {
    this.#options = options;
  }

  /** Rejects when the address is taken. */
  static async bind(options: ReplayOptions): Promise<ReplayServer> {
    const server = new ReplayServer(options);
    server.#endpoint = await bind(server.#router, options.endpoint);
    server.#answering = server.#answerAll(server.#router);
    return server;
  }

  /** Where it is bound. */
  get endpoint(): string {
    return this.#endpoint;
  }

  /** Requests answered to the end. */
  get servedCount(): number {
    return this.#servedCount;
  }

  /** Breaks every connection, and listens again. */
  async restart(): Promise<void> {
    await this.close();
    this.#router = createRouter();
    await rebind(this.#router, this.#endpoint);
    this.#answering = this.#answerAll(this.#router);
  }

  async close(): Promise<void> {
    this.#router.close();
    await this.#answering;
  }

  async #answerAll(router: Router): Promise<void> {
    for await (const frames of router) {
      const [identity, empty, first] = frames;
      // What is not a request is ignored, as vLLM does.
      if (frames.length !== 3 || empty!.length !== 0 || first!.length < 8) continue;
      try {
        await this.#answer(router, identity!, Number(first!.readBigUInt64BE(0)));
        this.#servedCount++;
      } catch (err) {
        // The client has gone or does not read, or the socket was closed.
        this.#options.logger.debug({ err }, "replay broken off");
      }
    }
  }

  async #answer(router: Router, identity: Buffer, first: number): Promise<void> {
    const { history, topic, hasTopic } = this.#options;
    const head = [identity, EMPTY];
    for (const { sequence, payload } of history.from(first)) {
      const label = hasTopic ? [topic] : [];
      await send(router, [...head, ...label, sequenceFrame(sequence), payload]);
    }
    await send(router, [...head, ...(hasTopic ? [EMPTY] : []), END, EMPTY]);
  }
}

/** Sends, however long the client takes to make room, up to SEND_TIMEOUT_MS. */
async function send(router: Router, frames: MessageLike[]): Promise<void> {
  const deadlineMs = performance.now() + SEND_TIMEOUT_MS;
  for (;;) {
    try {
      return await router.send(frames);
    } catch (error) {
      // A ROUTER waits until any client has room; that this one has none is an error then.
      const isFull = (error as NodeJS.ErrnoException).code === "EAGAIN";
      if (!isFull || performance.now() > deadlineMs) throw error;
      await sleep(SEND_RETRY_MS);
    }
  }
}

function createRouter(): Router {
  return new Router({
    mandatory: true,
    sendTimeout: SEND_TIMEOUT_MS,
    sendHighWaterMark: HIGH_WATER_MARK,
    linger: 0,
    maxMessageSize: REQUEST_BYTES_MAX,
  });
}
