// A walk whose answer is decoded in chunks: one request to an engine after another, and one answer to the
// client. The first chunk decides who serves; the others go to the same endpoint, which holds the blocks.

import { Readable } from "node:stream";
import type { EngineAnswer } from "../engine-answer.ts";
import { BodyLoan, type BodyBudget } from "../request-body.ts";
import { walk, type Walk, type WalkContext, type WalkLeg, type WalkRequest } from "../walk.ts";
import type { StagedApi } from "./connector.ts";
import { ChunkedDecode, type TakenChunk } from "./connectors/chunked-decode.ts";
import { readWhole, withBody } from "./read-answer.ts";

/** Of an answer to one chunk. */
export const CHUNK_ANSWER_BYTES_MAX = 8 * 1024 * 1024;

export interface ChunkedContext extends WalkContext {
  readonly budget: BodyBudget;
  /** Absent: everything is decoded in one. */
  readonly decodeChunkTokens?: number;
}

export type ChunkedRequest = WalkRequest & { readonly api: StagedApi };

/** As `walk`. A request that is to be decoded in one is walked as it is. Never rejects. */
export async function walkInChunks(
  context: ChunkedContext,
  request: ChunkedRequest,
): Promise<Walk> {
  const { decodeChunkTokens } = context;
  if (decodeChunkTokens === undefined) return walk(context, request);
  let chunked: ChunkedDecode | undefined;
  let headers: WalkLeg["headers"] = {};
  const walked = await walk(context, {
    ...request,
    async leg(endpoint) {
      const leg = await request.leg(endpoint);
      if ("stop" in leg) return leg;
      ({ headers } = leg);
      chunked = ChunkedDecode.begin({ api: request.api, body: leg.body }, decodeChunkTokens);
      return chunked === undefined ? leg : { ...leg, body: chunked.nextBody() };
    },
  });
  const { result } = walked;
  if (chunked === undefined || result.kind !== "answered" || result.answer.statusCode >= 300) {
    return walked;
  }
  return new Chunks(context, { ...request, headers }, chunked).answer(walked, result.answer);
}

class Chunks {
  readonly #context: ChunkedContext;
  readonly #request: WalkRequest & Pick<WalkLeg, "headers">;
  readonly #chunked: ChunkedDecode;

  constructor(
    context: ChunkedContext,
    request: WalkRequest & Pick<WalkLeg, "headers">,
    chunked: ChunkedDecode,
  ) {
    this.#context = context;
    this.#request = request;
    this.#chunked = chunked;
  }

  /** The walk with one answer of all chunks; a client that does not stream gets the first trouble. */
  async answer(walked: Walk, first: EngineAnswer): Promise<Walk> {
    const verdict = await this.#take(first);
    if (verdict === "unreadable")
      return { ...walked, result: { kind: "exhausted", kept: undefined } };
    if (verdict === "whole") {
      const { result } = await this.#ask(walked.endpoint, this.#chunked.wholeBody());
      return { ...walked, result };
    }
    if (this.#chunked.isStream) {
      const body = Readable.from(this.#events(walked.endpoint, verdict), { objectMode: false });
      const headers = { ...first.headers, "content-type": "text/event-stream" };
      return answered(walked, { ...first, headers }, body);
    }
    for (let more = verdict === "more"; more;) {
      const next = await this.#ask(walked.endpoint);
      const { result } = next;
      if (result.kind !== "answered" || result.answer.statusCode >= 300) return next;
      const said = await this.#take(result.answer);
      if (said === "unreadable") return { ...next, result: { kind: "exhausted", kept: undefined } };
      more = said === "more";
    }
    const body = Readable.from([this.#chunked.whole()], { objectMode: false });
    return answered(walked, first, body);
  }

  async *#events(endpoint: string, first: TakenChunk): AsyncGenerator<Uint8Array> {
    yield this.#chunked.event();
    for (let more = first === "more"; more;) {
      const { result } = await this.#ask(endpoint);
      const isGood = result.kind === "answered" && result.answer.statusCode < 300;
      const said = isGood ? await this.#take(result.answer) : "unreadable";
      if (!isGood && result.kind === "answered") drop(result.answer);
      // Its reader ends the stream as one that an engine broke off.
      if (said === "unreadable") throw new Error("a chunk was not answered");
      yield this.#chunked.event();
      more = said === "more";
    }
    yield this.#chunked.streamEnd();
  }

  #ask(endpoint: string, body = this.#chunked.nextBody()): Promise<Walk> {
    const { headers } = this.#request;
    return walk(this.#context, {
      ...this.#request,
      destinations: [endpoint],
      leg: () => ({ headers, body }),
      // It has the ticket already.
      onTry: () => undefined,
    });
  }

  async #take(answer: EngineAnswer): Promise<TakenChunk> {
    const loan = new BodyLoan(this.#context.budget);
    const bytes = await readWhole(answer, CHUNK_ANSWER_BYTES_MAX, loan);
    const verdict = bytes === undefined ? "unreadable" : this.#chunked.take(bytes);
    loan.release();
    return verdict;
  }
}

function drop(answer: EngineAnswer): void {
  answer.body.on("error", () => undefined).destroy();
}

/** The walk with an answer of which only the head is the engine's. */
function answered(walked: Walk, first: EngineAnswer, body: Readable): Walk {
  const answer = withBody(first, body);
  return { ...walked, result: { kind: "answered", answer } };
}
