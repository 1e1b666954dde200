// An engine's refusal that was passed over, whole, for a client that no later endpoint answers.

import type { EngineAnswer } from "./engine-answer.ts";

/** A longer one is not kept. */
const KEPT_ANSWER_BYTES_MAX = 64 * 1024;
/** A refusal is short; nobody waits for one that dribbles. */
const KEPT_ANSWER_MS_MAX = 1_000;

export interface KeptAnswer {
  readonly endpoint: string;
  readonly status: number;
  readonly headers: EngineAnswer["headers"];
  readonly body: Buffer;
}

/** Reads an answer to its end; undefined if it is too long to keep or breaks off. */
export async function keepAnswer(
  endpoint: string,
  answer: EngineAnswer,
): Promise<KeptAnswer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  const overdue = setTimeout(() => answer.body.destroy(new Error("overdue")), KEPT_ANSWER_MS_MAX);
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > KEPT_ANSWER_BYTES_MAX) return undefined;
      chunks.push(chunk);
    }
  } catch {
    // The engine broke off or took too long, or the client has gone.
    return undefined;
  } finally {
    clearTimeout(overdue);
  }
  const { statusCode: status, headers } = answer;
  return { endpoint, status, headers, body: Buffer.concat(chunks) };
}
