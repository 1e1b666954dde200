// Asks an engine, and carries its answer's body at its reader's pace.
//
// In place of undici's `request`: that reads on until its own buffer is full behind a reader that has paused, has a
// listener to the signal of its own, and makes what bodies can be read as besides. Here the parser is paused as soon
// as the reader is, so that of what the engine sends nothing waits behind the reader but what its socket had read.

import type { IncomingHttpHeaders } from "node:http";
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";

/** Of an answer that nobody reads yet, and of each socket before its writer is told to wait. */
export const READ_BUFFER_BYTES = 16 * 1024;

export interface EngineAnswer {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
}

/** An answer as it comes from its engine's connection. */
export interface LiveAnswer extends EngineAnswer {
  readonly body: EngineBody;
}

export interface EngineRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Aborted, the request rejects at once, and a body that has begun is destroyed. */
  readonly signal: AbortSignal;
}

/** Resolves with the answer's head. */
export function ask(dispatcher: Dispatcher, request: EngineRequest): Promise<LiveAnswer> {
  const { path, headers, body, signal } = request;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted());
    const handler = new AnswerHandler(signal, resolve, reject);
    dispatcher.dispatch({ method: "POST", path, headers, body }, handler);
  });
}

/** The body of an answer under way. Whoever has the answer reads or destroys it. */
export class EngineBody extends Readable {
  readonly #controller: Dispatcher.DispatchController;
  #onClosed: (() => void) | undefined;
  #onNews: (() => void) | undefined;
  #isWhole = false;
  /** Its reader has paused it. */
  #isStopped = false;
  /** More has been asked for since the last bytes came. */
  #isAsked = false;

  constructor(controller: Dispatcher.DispatchController, onClosed: () => void) {
    super({ highWaterMark: READ_BUFFER_BYTES });
    this.#controller = controller;
    this.#onClosed = onClosed;
    // Readers hear of errors by their own listeners, and of bodies that are given up, nobody needs to.
    this.on("error", ignore);
  }

  /** The engine has sent all of it. It may not have been read. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Waits until `bytes` of it are here, unread, or no more will come, for `msMax` at most. */
  async untilHere(bytes: number, msMax: number): Promise<void> {
    if (this.#isHere(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, msMax);
    this.#onNews = () => {
      if (this.#isHere(bytes)) resolve();
    };
    await promise;
    clearTimeout(timer);
    this.#onNews = undefined;
  }

  /** All of it, where it is here and nobody has read of it; else undefined, and it is still to be read. */
  takeWhole(): Buffer | undefined {
    if (!this.#isWhole || this.destroyed || this.readableFlowing !== null) return undefined;
    const bytes = this.read() as Buffer | null;
    this.destroy();
    return bytes ?? NOTHING;
  }

  /** Takes the next bytes from the engine. */
  receive(chunk: Buffer): void {
    this.#isAsked = false;
    const hasRoom = this.push(chunk);
    if (this.#isStopped || (!hasRoom && !this.#isAsked)) this.#controller.pause();
    this.#onNews?.();
  }

  /** The engine has sent all. */
  finish(): void {
    this.#isWhole = true;
    this.push(null);
    this.#onNews?.();
  }

  /** A stream reads ahead of a reader that has paused. Here that waits in the engine. */
  override pause(): this {
    this.#isStopped = true;
    return super.pause();
  }

  override resume(): this {
    super.resume();
    const isOwed = this.#isStopped && this.#isAsked;
    this.#isStopped = false;
    if (isOwed) this.#controller.resume();
    return this;
  }

  override _read(): void {
    this.#isAsked = true;
    if (!this.#isStopped) this.#controller.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#onClosed?.();
    this.#onClosed = undefined;
    if (!this.#isWhole) this.#controller.abort(error ?? aborted());
    this.#onNews?.();
    done(error);
  }

  #isHere(bytes: number): boolean {
    return this.readableLength >= bytes || this.#isWhole || this.destroyed;
  }
}

/** What undici tells of one request. It listens to the signal until the body has been read. */
class AnswerHandler implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal;
  readonly #resolve: (answer: LiveAnswer) => void;
  readonly #reject: (error: Error) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #body: EngineBody | undefined;

  constructor(
    signal: AbortSignal,
    resolve: (answer: LiveAnswer) => void,
    reject: (error: Error) => void,
  ) {
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener("abort", this);
  }

  /** The signal was aborted. While no connection is there, undici has nothing to abort: `onRequestStart` does. */
  handleEvent(): void {
    this.#leave();
    if (this.#body !== undefined) return void this.#body.destroy(aborted());
    this.#controller?.abort(aborted());
    this.#reject(aborted());
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#signal.aborted) controller.abort(aborted());
    else this.#controller = controller;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: IncomingHttpHeaders,
  ): void {
    // 100 to 199 come before the answer.
    if (statusCode < 200) return;
    const body = new EngineBody(controller, () => this.#leave());
    this.#body = body;
    this.#resolve({ statusCode, headers, body });
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.receive(chunk);
  }

  onResponseEnd(): void {
    this.#body?.finish();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    const body = this.#body;
    if (body === undefined) {
      this.#leave();
      this.#reject(error);
    } else {
      // What has come is for readers first.
      queueMicrotask(() => body.destroy(error));
    }
  }

  #leave(): void {
    this.#signal.removeEventListener("abort", this);
  }
}

const NOTHING: Buffer = Buffer.alloc(0);

function aborted(): Error {
  return new Error("aborted");
}

function ignore(): void {}
