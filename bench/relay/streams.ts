// Many streams through the relay at once: what they cost in memory, and whether it is given back.

import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import { CHAT_PATH } from "../conversation.ts";
import { median } from "../measure.ts";
import { openFilesMax, residentBytes } from "../proc.ts";
import type { Stack } from "../subjects.ts";

/** Descriptors of this process for each stream: the client's end and the engine's. */
const FILES_PER_STREAM = 2;
const FILES_SPARE = 500;
/** Between two looks at the relay's memory. */
const SAMPLE_MS = 250;

export interface StreamsBudget {
  /** At once, or as many as this process may have open. */
  readonly streams: number;
  readonly chunks: number;
  readonly intervalMs: number;
  /** Each is all streams from their beginning to their end. The first is not counted: buffers grow. */
  readonly waves: number;
}

export interface StreamFigures {
  readonly streams: number;
  readonly bytesPerStream: number;
  /** The last wave's memory by the first one's that counts. */
  readonly growth: number;
}

export async function measureStreams(
  stack: Stack,
  body: string,
  budget: StreamsBudget,
): Promise<StreamFigures> {
  const room = Math.floor((openFilesMax() - FILES_SPARE) / FILES_PER_STREAM);
  const streams = Math.min(budget.streams, room);
  stack.engine.pace = { chunks: budget.chunks, intervalMs: budget.intervalMs };
  const idle = residentBytes(stack.relay.pids);
  const waves: number[] = [];
  for (let wave = 0; wave < budget.waves; wave++) {
    waves.push(await measureWave(stack, body, streams));
  }
  const [, first, ...others] = waves;
  const last = others.at(-1) ?? first!;
  return { streams, bytesPerStream: (last - idle) / streams, growth: last / first! };
}

/** The relay's memory in the middle of a wave: the median of what it had while all streams ran. */
async function measureWave(stack: Stack, body: string, streams: number): Promise<number> {
  const agent = new Agent({ connections: streams, headersTimeout: 0, bodyTimeout: 0 });
  let open = 0;
  const ended = Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      // Signed one after another, as connections come about one after another.
      await sleep(Math.floor(index / 4));
      const answer = await request(`http://${stack.relay.address}${CHAT_PATH}`, {
        method: "POST",
        headers: headersOf(stack),
        body,
        dispatcher: agent,
      });
      open++;
      if (answer.statusCode !== 200) throw new Error(`the relay answered ${answer.statusCode}`);
      await answer.body.dump({ limit: Infinity });
      open--;
    }),
  );
  const samples: number[] = [];
  let isOver = false;
  void ended.finally(() => (isOver = true)).catch(() => {});
  while (!isOver) {
    if (open >= streams * 0.9) samples.push(residentBytes(stack.relay.pids));
    await sleep(SAMPLE_MS);
  }
  await ended;
  await agent.destroy();
  if (samples.length === 0) throw new Error("the streams were never all open at once");
  return median(samples);
}

function headersOf({ relay }: Stack): Record<string, string> {
  const type = { "content-type": "application/json", accept: "text/event-stream" };
  return { ...type, ...relay.headers(0) };
}
