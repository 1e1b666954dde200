// Writes an answer as fast as the client reads it, and makes it fail as it was told to.

import type { ServerResponse } from "node:http";
import type { AnswerSource } from "./answer-source.ts";
import { encodeError, type EngineError } from "./errors.ts";
import { sendError } from "./http-io.ts";
import type { Injection } from "./failures.ts";

/** How an answer fails that was begun. */
export type AnswerInjection = Exclude<Injection, { kind: "error" }>;

const MALFORMED_CHUNK = 'data: {"id":"chatcmpl-malformed","choices":[{"index":0,"delta":{"con\n\n';

export class AnswerWriter {
  readonly #response: ServerResponse;
  readonly #source: AnswerSource;
  readonly #injection: AnswerInjection | undefined;
  #isBegun = false;
  #isStalled = false;
  #hasFailed = false;
  /** A chunk taken from the source that could not be written yet. */
  #pending: string | undefined;
  #chunksWritten = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    response: ServerResponse,
    source: AnswerSource,
    injection: AnswerInjection | undefined,
  ) {
    this.#response = response;
    this.#source = source;
    this.#injection = injection;
    response.on("drain", () => this.pump());
    response.on("close", () => clearTimeout(this.#timer));
    if (source.isEager) this.#begin();
  }

  /** Writes what the source has, unless the client or a failure holds it up. */
  pump(): void {
    while (this.#isOpen()) {
      this.#pending ??= this.#source.next();
      if (this.#pending === undefined) break;
      if (!this.#isBegun) {
        this.#begin();
      } else if (this.#isFailureDue()) {
        this.#fail();
      } else {
        const chunk = this.#pending;
        this.#pending = undefined;
        this.#chunksWritten++;
        this.#response.write(chunk);
      }
    }
    if (this.#isOpen() && this.#source.isDone) this.#response.end();
  }

  /** Ends an answer that nothing was written of yet but perhaps its head: with an error. */
  fail(error: EngineError): void {
    const { destroyed, headersSent } = this.#response;
    if (destroyed) return;
    if (!headersSent) return sendError(this.#response, error);
    this.#response.end(`data: ${encodeError(error)}\n\ndata: [DONE]\n\n`);
  }

  #isOpen(): boolean {
    const { destroyed, writableEnded, writableNeedDrain } = this.#response;
    return !this.#isStalled && !destroyed && !writableEnded && !writableNeedDrain;
  }

  #begin(): void {
    this.#isBegun = true;
    const injection = this.#injection;
    if (injection?.kind === "reset" && injection.afterChunks === 0) {
      this.#response.socket?.resetAndDestroy();
      return;
    }
    const { contentType, contentBytes } = this.#source;
    this.#response.setHeader("content-type", contentType);
    if (contentBytes !== undefined && injection?.kind !== "malformed-chunk") {
      this.#response.setHeader("content-length", contentBytes);
    }
    if (injection?.kind === "slow-headers") {
      this.#stall(injection.delayMs);
      return;
    }
    this.#response.flushHeaders();
    if (injection?.kind === "stall-before") this.#stall(injection.delayMs);
  }

  #isFailureDue(): boolean {
    const injection = this.#injection;
    if (this.#hasFailed || injection === undefined || !("afterChunks" in injection)) return false;
    return injection.afterChunks === this.#chunksWritten;
  }

  #fail(): void {
    this.#hasFailed = true;
    if (this.#injection?.kind === "stall-mid") this.#stall(this.#injection.delayMs);
    else if (this.#injection?.kind === "reset") this.#response.socket?.resetAndDestroy();
    else this.#response.write(MALFORMED_CHUNK);
  }

  #stall(delayMs: number): void {
    this.#isStalled = true;
    this.#timer = setTimeout(() => {
      this.#isStalled = false;
      if (!this.#response.headersSent) this.#response.flushHeaders();
      this.pump();
    }, delayMs);
  }
}
