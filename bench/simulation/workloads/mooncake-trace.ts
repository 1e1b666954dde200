// Requests of a recorded trace in the Mooncake format: JSON lines of
//
//   {"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [id, …]}
//
// An id names 512 tokens and everything before them. Of every id thirty-two of our blocks are made; the
// answer's blocks are nobody else's, because the trace does not say what became of it.
//
// Source: Mooncake, FAST25-release/README.md. Other rates than the trace's own are made by
// stretching its time: what follows what, and how bursts look, stays.

import { readFileSync } from "node:fs";
import { z } from "zod";
import { BlockNames } from "../block-stream.ts";
import {
  BLOCK_TOKENS,
  fullBlocks,
  type Phase,
  type Session,
  type Workload,
  type WorkloadRequest,
} from "../workload.ts";

const HASHED_TOKENS = 512;
const BLOCKS_PER_HASH = HASHED_TOKENS / BLOCK_TOKENS;
/** Requests read at most, and taken for one run. */
const REQUESTS_MAX = 100_000;
const REQUESTS_OF_RUN = 3_000;
/** Of a run's requests, those that only fill the caches. */
const WARM_UP_SHARE = 0.25;

const lineSchema = z.object({
  timestamp: z.number().min(0),
  input_length: z.int().min(1),
  output_length: z.int().min(1),
  hash_ids: z.array(z.int().min(0)),
});
export type TraceLine = z.output<typeof lineSchema>;

export function traceWorkload(path: string): Workload {
  const lines = parseTrace(readFileSync(path, "utf8"), path);
  return {
    name: "trace",
    about: `The trace ${path}.`,
    slo: { ttftMs: 30_000, tpotMs: 100 },
    saturationRate: 6,
    create: (rate) => [createPhase(lines.slice(0, REQUESTS_OF_RUN), rate)],
  };
}

/** `source` is named in complaints. */
export function parseTrace(text: string, source: string): TraceLine[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length === 0) throw new Error(`${source} holds no request.`);
  return lines.slice(0, REQUESTS_MAX).map((line, i) => {
    try {
      const parsed = lineSchema.parse(JSON.parse(line));
      if (parsed.hash_ids.length * HASHED_TOKENS < parsed.input_length)
        throw new Error(`hash_ids are too few for input_length ${parsed.input_length}`);
      return parsed;
    } catch (error) {
      throw new Error(
        `${source} line ${i + 1} is no request of a Mooncake trace: ${String(error)}`,
        {
          cause: error,
        },
      );
    }
  });
}

function createPhase(lines: readonly TraceLine[], rate: number): Phase {
  const firstMs = lines[0]!.timestamp;
  const lastMs = lines.at(-1)!.timestamp;
  const traceRate = lines.length / Math.max(1, (lastMs - firstMs) / 1_000);
  const stretch = traceRate / rate;
  const requests = new TraceRequests();
  const sessions = lines.map((line): Session => {
    const turns = [{ request: requests.of(line), delayMs: 0 }];
    return { startMs: (line.timestamp - firstMs) * stretch, turns };
  });
  const measuredFromMs = (lastMs - firstMs) * stretch * WARM_UP_SHARE;
  return { sessions, measuredFromMs, measuredUntilMs: Infinity };
}

/** Makes requests of a trace's lines: equal ids are equal blocks. */
export class TraceRequests {
  readonly #names = new BlockNames();
  /** Of the first of its blocks. */
  readonly #nameByHash = new Map<number, number>();

  of({
    input_length: promptTokens,
    output_length: outputTokens,
    hash_ids,
  }: TraceLine): WorkloadRequest {
    const promptBlocks = fullBlocks(promptTokens);
    const blocks = new Int32Array(fullBlocks(promptTokens + outputTokens));
    for (let first = 0; first < promptBlocks; first += BLOCKS_PER_HASH) {
      const name = this.#nameOf(hash_ids[first / BLOCKS_PER_HASH]!);
      const end = Math.min(promptBlocks, first + BLOCKS_PER_HASH);
      for (let i = first; i < end; i++) blocks[i] = name + i - first;
    }
    for (let i = promptBlocks; i < blocks.length; i++) blocks[i] = this.#names.take();
    return { promptTokens, outputTokens, outputTokensMax: null, blocks };
  }

  #nameOf(hash: number): number {
    let name = this.#nameByHash.get(hash);
    if (name === undefined) this.#nameByHash.set(hash, (name = this.#names.take(BLOCKS_PER_HASH)));
    return name;
  }
}
