// A whole decision: from a body's bytes to an endpoint, as Worker and pool make it, without the calls
// between them. Reading and checking JSON, content keys, and a pick with its record among 64
// endpoints of which a third hold a part of the prompt.
//
// Compared with the least that a router by model name could do: JSON.parse and the next endpoint.
// `prepare_ms` and `content_keys_ms` are parts of it, the latter of the former.

import { createContentKeys } from "../src/scheduler/kv/content-keys.ts";
import { feedPrompt } from "../src/worker/openai/feed-prompt.ts";
import { openaiParser } from "../src/worker/openai/openai-parser.ts";
import { CHAT_PATH, createChatBody, MODEL } from "./conversation.ts";
import { type Measurement, nanosecondsEach, sink, type Timing, TIMING } from "./measure.ts";
import { PoolInUse } from "./pool-in-use.ts";

const AGAINST = "JSON.parse, round robin";
const ENDPOINTS = 64;
/** Bodies that differ, used in turn. */
const BODIES = 4;
const BYTES_PER_TOKEN = 4;
const TENANT = { id: "t", salt: undefined, isolated: false };

/** `tokens` of prompt, by the usual estimate of four bytes each. */
export async function* measureDecision(
  tokens: number,
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const bodies = Array.from({ length: BODIES }, (_, seed) =>
    new TextEncoder().encode(
      createChatBody({ bodyBytes: tokens * BYTES_PER_TOKEN, isStream: false, seed }),
    ),
  );
  const pool = new PoolInUse(ENDPOINTS);
  for (const body of bodies) pool.warm(await keysOf(body));
  const texts = bodies.map(contentsOf);
  let turn = 0;
  const next = <T>(list: readonly T[]): T => list[turn++ % BODIES]!;
  const ns = await nanosecondsEach(
    {
      async decision() {
        sink.value += pool.pickRecorded(await keysOf(next(bodies)));
      },
      async prepare() {
        sink.value += (await keysOf(next(bodies))).length;
      },
      contentKeys() {
        sink.value += hash(next(texts));
      },
      naive() {
        const parsed = JSON.parse(new TextDecoder().decode(next(bodies))) as object;
        sink.value += Object.keys(parsed).length + (turn % ENDPOINTS);
      },
    },
    timing,
  );
  const figure = (metric: string, value: number): Measurement => ({
    bench: `decision-${tokens / 1_000}k-tokens`,
    metric,
    value: value / 1e6,
    unit: "ms",
    ratio: value / ns.naive,
    against: AGAINST,
  });
  yield figure("cpu_ms", ns.decision);
  yield figure("prepare_ms", ns.prepare);
  yield figure("content_keys_ms", ns.contentKeys);
}

/** The texts of a body's messages. */
function contentsOf(body: Uint8Array): string[] {
  const { messages } = JSON.parse(new TextDecoder().decode(body)) as {
    readonly messages: readonly { readonly content: string }[];
  };
  return messages.map(({ content }) => content);
}

function hash(texts: readonly string[]): number {
  const keys = createContentKeys({ model: MODEL });
  for (const text of texts) feedPrompt(keys, text);
  return keys.keys().length;
}

async function keysOf(body: Uint8Array<ArrayBuffer>): Promise<Uint32Array> {
  const parsed = openaiParser.parse({ path: CHAT_PATH, bytes: body, headers: new Headers() });
  if (!parsed.ok) throw new Error(parsed.error.message);
  return (await parsed.value.prepare(parsed.value.model!, TENANT)).keys;
}
