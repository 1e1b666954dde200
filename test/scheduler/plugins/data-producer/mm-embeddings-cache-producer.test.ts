import { describe, expect, it } from "vitest";
import type { DataProducer } from "../../../../src/scheduler/plugin.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

const TYPE = "mm-embeddings-cache-producer";

/** Spread over both words, as hashes are. */
const hashOf = (name: number) => [Math.imul(name, 0x9e3779b1), Math.imul(name, 0x85ebca6b)];

/** A request with these media; 100 times the name is its size. */
const contextOf = (names: readonly number[]) =>
  pickContext([{}, {}], {
    request: {
      media: {
        hashes: Uint32Array.from(names.flatMap(hashOf)),
        tokens: Uint32Array.from(names, (name) => 100 * name),
      },
    },
  });

function send(producer: DataProducer, names: readonly number[], slot: number): void {
  producer.produce(contextOf(names));
  producer.onPicked?.(contextOf(names), slot);
}

function match(producer: DataProducer, names: readonly number[]) {
  producer.produce(contextOf(names));
  const { matchedSize, totalSize } = producer.data["media-match"]!;
  return { matched: [...matchedSize.subarray(0, 2)], totalSize };
}

describe("mm-embeddings-cache-producer", () => {
  it("tells the size of the media that were sent to an endpoint before", () => {
    const producer = createProducer(TYPE);
    send(producer, [1, 2], 0);
    send(producer, [3], 1);
    expect(match(producer, [1, 3, 4])).toEqual({ matched: [100, 300], totalSize: 800 });
  });

  it("counts the same media once", () => {
    const producer = createProducer(TYPE);
    send(producer, [2, 2], 0);
    expect(match(producer, [2, 1, 2])).toEqual({ matched: [200, 0], totalSize: 300 });
  });

  it("tells hashes apart that differ in their high words only", () => {
    const producer = createProducer(TYPE);
    send(producer, [1], 0);
    const other = { hashes: Uint32Array.of(hashOf(1)[0]!, 7), tokens: Uint32Array.of(100) };
    producer.produce(pickContext([{}], { request: { media: other } }));
    expect(producer.data["media-match"]!.matchedSize[0]).toBe(0);
  });

  it("tells nothing of a request without media", () => {
    const producer = createProducer(TYPE);
    send(producer, [1], 0);
    match(producer, [1]);
    producer.produce(pickContext([{}, {}]));
    expect(producer.data["media-match"]!.totalSize).toBe(0);
    expect(producer.data["media-match"]!.matchedSize[0]).toBe(0);
  });

  it("keeps as many media of an endpoint as its cache holds, two MiB each", () => {
    const producer = createProducer(TYPE, { cacheSizeInMBPerServer: 4 });
    for (const name of [1, 2, 3]) send(producer, [name], 0);
    expect(match(producer, [1, 2, 3]).matched).toEqual([500, 0]);
    send(producer, [1], 1);
    expect(match(producer, [1, 2, 3]).matched).toEqual([500, 100]);
  });

  it("keeps two thousand by default, and not many more", () => {
    const producer = createProducer(TYPE);
    for (let name = 1; name <= 2_100; name++) send(producer, [name], 0);
    expect(match(producer, [1]).matched[0]).toBe(0);
    expect(match(producer, [2_100 - 2_047]).matched[0]).toBeGreaterThan(0);
  });

  it.for(["onEndpointRemoved", "onEndpointRestarted"] as const)("forgets by %s", (event) => {
    const producer = createProducer(TYPE);
    send(producer, [1], 0);
    producer[event]?.(0);
    expect(match(producer, [1]).matched).toEqual([0, 0]);
  });
});
