// A publisher of KV events as an engine has it, of which a test decides what is lost and what is kept.

import { setTimeout as sleep } from "node:timers/promises";
import { Context, Router, XPublisher } from "zeromq";

export interface PublisherOptions {
  readonly topic?: string;
  readonly framing?: "new" | "old" | "broken";
  /** Batches kept for replays. */
  readonly keepMax?: number;
  readonly firstSeq?: number;
  /** Ports of an earlier life; any if absent. */
  readonly port?: number;
  readonly replayPort?: number;
  /** Where it dials; it has no address of its own then. */
  readonly dials?: string;
  /** What it said before anybody could hear it; null for a number that it left out. */
  readonly history?: readonly (Uint8Array | null)[];
}

const END = Buffer.alloc(8, 0xff);

export class TestPublisher {
  readonly #options: PublisherOptions;
  readonly #pub: XPublisher;
  readonly #router: Router;
  #kept: { seq: number; payload: Uint8Array }[] = [];
  #seq: number;
  /** Subscriptions that have arrived: what was sent before them is lost. */
  subscriptions = 0;
  /** Numbers that replays were asked from. */
  readonly asked: number[] = [];
  /** Whether requests for a replay are answered. */
  isAnswering = true;
  /** Done between looking up what is kept and answering. */
  beforeAnswer: () => Promise<void> = async () => undefined;

  private constructor(options: PublisherOptions, context: Context) {
    this.#options = options;
    this.#seq = options.firstSeq ?? 0;
    this.#pub = new XPublisher({ context, linger: 0, verbosity: "allSubs" });
    this.#router = new Router({ context, linger: 0 });
  }

  static async start(options: PublisherOptions = {}): Promise<TestPublisher> {
    const publisher = new TestPublisher(options, new Context());
    for (const payload of options.history ?? []) {
      if (payload === null) publisher.#seq++;
      else await publisher.publish(payload, "lost");
    }
    // The replay first: who hears the publisher asks at once.
    await bind(publisher.#router, options.replayPort);
    if (options.dials === undefined) await bind(publisher.#pub, options.port);
    else publisher.dial();
    void publisher.#serve();
    void publisher.#countSubscriptions();
    return publisher;
  }

  get eventsUrl(): string {
    return this.#pub.lastEndpoint!;
  }

  get replayUrl(): string {
    return this.#router.lastEndpoint!;
  }

  dial(): void {
    this.#pub.connect(this.#options.dials!);
  }

  /** Its link is gone; what it says meanwhile is lost. */
  hangUp(): void {
    this.#pub.disconnect(this.#options.dials!);
  }

  /** Of a publisher that takes this one's place. */
  get ports(): { port: number; replayPort: number } {
    const portOf = (url: string) => Number(url.slice(url.lastIndexOf(":") + 1));
    return { port: portOf(this.eventsUrl), replayPort: portOf(this.replayUrl) };
  }

  /** Publishes; or, if it is lost on the way, only keeps it. */
  async publish(payload: Uint8Array, how: "sent" | "lost" = "sent"): Promise<number> {
    const seq = this.#seq++;
    this.#kept.push({ seq, payload });
    if (this.#kept.length > (this.#options.keepMax ?? 100)) this.#kept.shift();
    if (how === "sent") await this.sendRaw([this.#topic, sequence(seq), payload]);
    return seq;
  }

  async sendRaw(frames: Uint8Array[]): Promise<void> {
    await this.#pub.send(frames);
  }

  get #topic(): Buffer {
    return Buffer.from(this.#options.topic ?? "kv@pod@model");
  }

  close(): void {
    this.#pub.close();
    this.#router.close();
  }

  async #countSubscriptions(): Promise<void> {
    for await (const [message] of this.#pub) {
      if (message![0] === 1) this.subscriptions++;
    }
  }

  async #serve(): Promise<void> {
    for await (const [identity, , from] of this.#router) {
      const first = Number((from as Buffer).readBigUInt64BE(0));
      this.asked.push(first);
      if (!this.isAnswering) continue;
      const send = (...frames: Uint8Array[]) =>
        this.#router.send([identity!, Buffer.alloc(0), ...frames]);
      const { framing } = this.#options;
      const kept = this.#kept.filter((batch) => batch.seq >= first);
      await this.beforeAnswer();
      for (const { seq, payload } of kept) {
        if (framing === "broken") await send(sequence(seq));
        else if (framing === "old") await send(sequence(seq), payload);
        else await send(this.#topic, sequence(seq), payload);
      }
      if (framing === "old") await send(END, Buffer.alloc(0));
      else await send(Buffer.alloc(0), END, Buffer.alloc(0));
    }
  }
}

/** A closed socket keeps its port for a moment. */
async function bind(socket: XPublisher | Router, port: number | undefined): Promise<void> {
  for (let left = 200; ; left--) {
    try {
      return await socket.bind(`tcp://127.0.0.1:${port ?? "*"}`);
    } catch (error) {
      if (left === 0) throw error;
      await sleep(10);
    }
  }
}

export function sequence(seq: number): Buffer {
  const frame = Buffer.alloc(8);
  frame.writeBigUInt64BE(BigInt(seq));
  return frame;
}
