// What an agent is told by a pool's object, in the words that its version knows and for what its role does.

import type { Configure, FromObject, Hello } from "../agents/protocol/messages.ts";
import { SINCE_VERSION } from "../agents/protocol/version.ts";
import type { AgentEvents } from "./agent-events.ts";
import type { PoolObjectConfig } from "./contract.ts";
import { configureMetrics } from "./engine-metrics.ts";
import { KV_FEED_LIMITS } from "./kv/kv-feeds.ts";

/** What is durable of an agent's reports: the number of the last one, and of the frame it came with. */
interface Acked {
  readonly seq: number;
  readonly report: number;
}

/** The answer to a hello, and the first word of an object that has lost its memory. */
export function welcomeOf(hello: Hello, objectEpoch: string, acked: Acked): FromObject {
  const welcome = { t: "welcome", v: hello.v, objectEpoch, ackedSeq: acked.seq } as const;
  return numbersReports(hello) ? { ...welcome, ackedReport: acked.report } : welcome;
}

export function ackOf(hello: Hello, { seq, report }: Acked): FromObject {
  const ack = { t: "ack", seq } as const;
  return numbersReports(hello) ? { ...ack, report } : ack;
}

/** Whether it can be asked to end a request. */
export function canEvict({ role, v }: Hello): boolean {
  return role === "relay" && v >= SINCE_VERSION.evictions;
}

/** What a collector is to read and may send, and what a relay is to report. */
export function configureOf(
  hello: Hello,
  { scrapeIntervalMs }: Pick<PoolObjectConfig, "scrapeIntervalMs">,
  events: Pick<AgentEvents, "specification" | "wantsFirstBytes" | "shards">,
): Configure {
  const { v, role } = hello;
  const reportsFirstByte = canEvict(hello) && events.wantsFirstBytes();
  const reportsStages = role === "relay" && v >= SINCE_VERSION.stageReports;
  const takesKv = role === "collector" && v >= SINCE_VERSION.kv;
  const takesResources = role === "collector" && v >= SINCE_VERSION.resources;
  const shards = v >= SINCE_VERSION.shards ? events.shards?.() : undefined;
  return {
    t: "configure",
    scrapeIntervalMs,
    ...configureMetrics(events.specification(), v >= SINCE_VERSION.models),
    ...(reportsFirstByte ? { reportsFirstByte } : {}),
    ...(reportsStages ? { reportsStages } : {}),
    ...(takesKv ? { kvWindowBytes: KV_FEED_LIMITS.windowBytes, kvTokenEnds: true } : {}),
    ...(takesResources ? { takesResources } : {}),
    ...(shards === undefined ? {} : { shards }),
  };
}

function numbersReports({ v }: Hello): boolean {
  return v >= SINCE_VERSION.numberedReports;
}
