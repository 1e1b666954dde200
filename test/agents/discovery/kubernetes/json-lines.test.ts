import { describe, expect, it } from "vitest";
import {
  OversizedLineError,
  readLines,
} from "../../../../src/agents/discovery/kubernetes/json-lines.ts";

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

describe("readLines", () => {
  it("gives the same lines in chunks of every size, and no part of one that is cut off", async () => {
    const lines = ['{"name":"größer – 模型 🧊"}', "{}", '{"a":1}'];
    const bytes = Buffer.from(`${lines.join("\n\n")}\r\n${'{"cut":'}`);
    for (let size = 1; size <= bytes.length; size++) {
      const read = await collect(readLines(inChunks(bytes, size), 1_000));
      expect(read.map((line) => line.trim())).toEqual(lines);
    }
  });

  it.for([1, 3, 100])("takes a line of the bound, and none longer (chunks of %i)", async (size) => {
    const read = (text: string) => collect(readLines(inChunks(Buffer.from(text), size), 10));
    expect(await read("0123456789\n0123456789\n")).toHaveLength(2);
    await expect(read("01234567890\n")).rejects.toThrow(OversizedLineError);
    await expect(read("01234567890")).rejects.toThrow(OversizedLineError);
  });
});
