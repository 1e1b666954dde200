import { describe, expect, it } from "vitest";
import type { Hello } from "../../src/agents/protocol/messages.ts";
import { ackOf, canEvict, configureOf, welcomeOf } from "../../src/durable/agent-messages.ts";
import { KV_FEED_LIMITS } from "../../src/durable/kv/kv-feeds.ts";
import { DEFAULT_SPECIFICATION } from "../../src/scheduler/data-layer/compile.ts";

const hello = (role: Hello["role"], v: number): Hello => ({
  t: "hello",
  v,
  role,
  pool: "p",
  agent: "a",
  epoch: "e",
});
const SHARDS = { index: 0, count: 2, version: 1, splits: [] };

describe("configureOf", () => {
  const KV = { kvWindowBytes: KV_FEED_LIMITS.windowBytes, kvTokenEnds: true };
  const NEW = { specification: DEFAULT_SPECIFICATION, shards: SHARDS };
  const collector = hello("collector", 2);
  const relay = hello("relay", 2);

  it.for([
    {
      name: "a collector what it may send",
      to: collector,
      is: { ...NEW, ...KV, takesResources: true },
    },
    { name: "a relay what it is to report", to: relay, is: { ...NEW, reportsStages: true } },
    {
      name: "a relay that first bytes are wanted",
      to: relay,
      wantsFirstBytes: true,
      is: { ...NEW, reportsFirstByte: true, reportsStages: true },
    },
    { name: "a collector of before nothing that is new", to: hello("collector", 1), is: {} },
    {
      name: "a relay of before nothing that is new",
      to: hello("relay", 1),
      wantsFirstBytes: true,
      is: {},
    },
  ])("tells $name", ({ to, wantsFirstBytes = false, is }) => {
    const configure = configureOf(
      to,
      { scrapeIntervalMs: 70 },
      {
        specification: () => DEFAULT_SPECIFICATION,
        wantsFirstBytes: () => wantsFirstBytes,
        shards: () => SHARDS,
      },
    );
    const { metrics, ...rest } = configure;
    expect(metrics).not.toEqual([]);
    expect(rest).toEqual({ t: "configure", scrapeIntervalMs: 70, ...is });
  });
});

it("tells what is durable by number to those that number their reports, and by frame to others", () => {
  const acked = { seq: 3, report: 17 };
  expect(welcomeOf(hello("relay", 2), "o", acked)).toEqual({
    t: "welcome",
    v: 2,
    objectEpoch: "o",
    ackedSeq: 3,
    ackedReport: 17,
  });
  expect(welcomeOf(hello("relay", 1), "o", acked)).not.toHaveProperty("ackedReport");
  expect(ackOf(hello("relay", 2), acked)).toEqual({ t: "ack", seq: 3, report: 17 });
  expect(ackOf(hello("relay", 1), acked)).toEqual({ t: "ack", seq: 3 });
});

it("asks relays that know it to end requests, and nobody else", () => {
  expect(canEvict(hello("relay", 2))).toBe(true);
  expect(canEvict(hello("relay", 1))).toBe(false);
  expect(canEvict(hello("collector", 2))).toBe(false);
});
