// Usage out of an answer that no relay meters, from its last bytes. Where upstreams tell it at all, it is
// the end of a JSON answer, or the last event of a stream that was asked for it (`include_usage`).
//
//   chunk ──► client
//     └─────► tail, the last TAIL_BYTES ──end──► the last `"usage":{…}` in it
//
// One copy of at most TAIL_BYTES a chunk, and one parse an answer. Key and braces are searched in the bytes:
// a quoted key cannot occur inside a JSON string, where its quotes would be escaped.

import { parseUsage, type Usage } from "../../agents/protocol/answer-usage.ts";

export const TAIL_BYTES = 4_096;

/** How a body ended, and what it said at its end. */
export interface BodyEnd {
  readonly outcome: "completed" | "cancelled" | "failed";
  /** Unix ms of the first byte; undefined if none came. */
  readonly firstByteAtMs: number | undefined;
  readonly usage: Usage | undefined;
}

export interface WatchedBody {
  readonly body: ReadableStream<Uint8Array>;
  /** Never rejects. */
  readonly ended: Promise<BodyEnd>;
}

/** The same bytes, chunk by chunk as they are asked for; cancelling it cancels `source`. */
export function watchBody(source: ReadableStream<Uint8Array>): WatchedBody {
  const reader = source.getReader();
  const tail = new Tail();
  const { promise: ended, resolve } = Promise.withResolvers<BodyEnd>();
  let firstByteAtMs: number | undefined;
  const end = (outcome: BodyEnd["outcome"]) =>
    resolve({ outcome, firstByteAtMs, usage: usageIn(tail.text()) });
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            end("completed");
            return controller.close();
          }
          firstByteAtMs ??= Date.now();
          tail.add(value);
          controller.enqueue(value);
        } catch (error) {
          end("failed");
          controller.error(error);
        }
      },
      async cancel(reason) {
        end("cancelled");
        // Rejects where it broke meanwhile.
        await reader.cancel(reason).catch(() => undefined);
      },
    },
    // Nothing is read ahead of the client.
    { highWaterMark: 0 },
  );
  return { body, ended };
}

/** The last bytes of what is added. */
class Tail {
  /** Twice what is kept, so that most chunks are copied once. */
  readonly #bytes = new Uint8Array(2 * TAIL_BYTES);
  #length = 0;

  add(chunk: Uint8Array): void {
    const last = chunk.byteLength > TAIL_BYTES ? chunk.subarray(-TAIL_BYTES) : chunk;
    if (this.#length + last.byteLength > this.#bytes.byteLength) {
      const kept = TAIL_BYTES - last.byteLength;
      this.#bytes.copyWithin(0, this.#length - kept, this.#length);
      this.#length = kept;
    }
    this.#bytes.set(last, this.#length);
    this.#length += last.byteLength;
  }

  /** Bytes as characters: what is looked for is ASCII, and a cut in another character does not matter. */
  text(): string {
    const from = Math.max(0, this.#length - TAIL_BYTES);
    return new TextDecoder("latin1").decode(this.#bytes.subarray(from, this.#length));
  }
}

const USAGE_KEY = '"usage"';

/** The last usage that is one: where a stream is asked for it, its other events say `"usage":null`. */
export function usageIn(text: string): Usage | undefined {
  for (let at = text.lastIndexOf(USAGE_KEY); at !== -1; at = text.lastIndexOf(USAGE_KEY, at - 1)) {
    const object = /^\s*:\s*(?=\{)/.exec(text.slice(at + USAGE_KEY.length));
    const from = at + USAGE_KEY.length + (object?.[0].length ?? 0);
    const usage = object === null ? undefined : parseUsage(objectAt(text, from));
    if (usage !== undefined) return usage;
    if (at === 0) return undefined;
  }
  return undefined;
}

/** From the brace at `from` to its other one. Numbers and objects of them: a brace in a string is none of usage. */
function objectAt(text: string, from: number): string {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text[at] === "{") depth += 1;
    else if (text[at] === "}" && --depth === 0) return text.slice(from, at + 1);
  }
  return "";
}
