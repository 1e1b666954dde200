// Reads engines' answers that are not simply passed on: whole, or their beginning.

import { Readable } from "node:stream";
import type { EngineAnswer } from "../engine-answer.ts";
import type { BodyLoan } from "../request-body.ts";

/** Reads an answer to its end; undefined if it breaks off, is too long, or the relay has no room. */
export async function readWhole(
  answer: EngineAnswer,
  bytesMax: number,
  loan: BodyLoan,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > bytesMax || !loan.tryTake(chunk.byteLength)) return undefined;
      chunks.push(chunk);
    }
  } catch {
    // The engine broke off, or nobody wants the answer any more.
    return undefined;
  }
  return Buffer.concat(chunks, size);
}

export interface Peeked<Verdict> {
  /** Undefined if `bytesMax` came without one, or the answer broke off. */
  readonly verdict: Verdict | undefined;
  readonly isBroken: boolean;
  /** The whole answer, with what was read; belongs to the caller. */
  readonly answer: EngineAnswer;
}

/**
 * Reads an answer until `judge` knows what it is, which is asked again with each chunk and last when the
 * answer is whole. Never rejects: an answer that breaks off does so for its reader.
 */
export async function peek<Verdict>(
  answer: EngineAnswer,
  bytesMax: number,
  judge: (begun: Buffer, isWhole: boolean) => Verdict | undefined,
): Promise<Peeked<Verdict>> {
  const chunks = (answer.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let begun: Buffer = Buffer.alloc(0);
  let verdict: Verdict | undefined;
  let trouble: unknown;
  try {
    while (verdict === undefined && begun.byteLength <= bytesMax) {
      const { done: isWhole = false, value } = await chunks.next();
      if (!isWhole) begun = Buffer.concat([begun, value]);
      verdict = judge(begun, isWhole);
      if (isWhole) break;
    }
  } catch (error) {
    trouble = error;
  }
  const isBroken = trouble !== undefined;
  return { verdict, isBroken, answer: withBody(answer, again(answer, begun, { chunks, trouble })) };
}

/** `answer` with another body. */
export function withBody(answer: EngineAnswer, body: Readable): EngineAnswer {
  return { ...answer, body };
}

function again(
  answer: EngineAnswer,
  begun: Buffer,
  rest: { chunks: AsyncIterator<Buffer>; trouble: unknown },
): Readable {
  const body = Readable.from(replay(begun, rest), { objectMode: false });
  // A reader that leaves before the first chunk leaves the generator unstarted.
  body.once("close", () => answer.body.destroy());
  return body;
}

async function* replay(
  begun: Buffer,
  { chunks, trouble }: { chunks: AsyncIterator<Buffer>; trouble: unknown },
): AsyncGenerator<Buffer> {
  if (begun.byteLength > 0) yield begun;
  if (trouble !== undefined) throw trouble;
  for (;;) {
    const { done, value } = await chunks.next();
    if (done === true) return;
    yield value;
  }
}
