// The conversation trace of Mooncake as it lies beside the simulation; traces/README.md says how it is packed.

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { TraceLine } from "./mooncake-trace.ts";

const FILE = new URL("../traces/mooncake-conversation.txt.gz", import.meta.url);

let read: readonly TraceLine[] | undefined;

/** All of it, in order of time. */
export function conversationTrace(): readonly TraceLine[] {
  read ??= unpackTrace(gunzipSync(readFileSync(FILE)).toString("utf8"));
  return read;
}

export function unpackTrace(text: string): TraceLine[] {
  let timestamp = 0;
  return text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [sinceLastMs, inputTokens, outputTokens, ...runs] = line.split(" ").map(Number);
      timestamp += sinceLastMs!;
      const hashIds: number[] = [];
      for (let i = 0; i < runs.length; i += 2)
        for (let k = 0; k < runs[i + 1]!; k++) hashIds.push(runs[i]! + k);
      return {
        timestamp,
        input_length: inputTokens!,
        output_length: outputTokens!,
        hash_ids: hashIds,
      };
    });
}
