import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import {
  endpointSchema,
  fromObjectSchema,
  helloSchema,
  hostPortSchema,
  marksSchema,
  membershipSchema,
  numberedReportsSchema,
  startedSchema,
  ticketReportsSchema,
} from "../../../src/agents/protocol/messages.ts";
import recorded from "../../fixtures/protocol-v2.json" with { type: "json" };

const {
  endpointsMax,
  labelsMax,
  labelCharsMax,
  metricFieldsMax,
  ticketReportsMax,
  destinationsMax,
  ticketCharsMax,
  requestIdCharsMax,
  marksMax,
  markLeaseMsMax,
  startedTicketsMax,
} = PROTOCOL_LIMITS;
const endpoint = { id: "default/e", address: "10.0.0.1:8000", engine: "vllm" };
const labels = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`l${i}`, "v"]));
const opened = { kind: "opened", ticket: "t", attempt: 0, endpoint: "h:1" };
const closed = {
  ...opened,
  kind: "closed",
  outcome: "ok",
  status: 200,
  ttftMs: 1,
  durationMs: 2,
  promptTokens: 1,
  cachedTokens: null,
  completionTokens: 1,
  finishReason: null,
  failed: [],
};
const stages = {
  connector: "nixlv2",
  prefill: null,
  outcome: "off-list",
  prefillMs: 0,
  failed: [],
  isDecodeOnly: true,
  isStranded: false,
};
const mark = (leaseMs: number) => ({ endpoint: "h:1", leaseMs, why: "refused" });
const configure = (count: number) => ({
  t: "configure",
  scrapeIntervalMs: 200,
  metrics: Array(count).fill({ field: "waiting", sources: { vllm: [{ series: "s" }] } }),
});

describe("messages", () => {
  it.for(["10.0.0.1:8000", "engine-0.llm.svc:1", "[fd00::1]:65535"])(
    "take the address %s",
    (text) => {
      expect(hostPortSchema.safeParse(text).success).toBe(true);
    },
  );

  it.for([
    "10.0.0.1",
    "fd00::1:80",
    "http://h:80",
    "h:80/x",
    "u@h:80",
    "h:",
    ":80",
    "h:123456",
    "h:80\n",
    "a,b:1",
  ])("refuse the address %j", (text) => {
    expect(hostPortSchema.safeParse(text).success).toBe(false);
  });

  it.for([
    {
      name: "endpoints",
      schema: membershipSchema,
      make: (n: number) => ({ endpoints: Array(n).fill(endpoint) }),
      max: endpointsMax,
    },
    {
      name: "labels",
      schema: endpointSchema,
      make: (n: number) => ({ ...endpoint, labels: labels(n) }),
      max: labelsMax,
    },
    {
      name: "characters of an id",
      schema: endpointSchema,
      make: (n: number) => ({ ...endpoint, id: "x".repeat(n) }),
      max: labelCharsMax,
    },
    { name: "metric fields", schema: fromObjectSchema, make: configure, max: metricFieldsMax },
    {
      name: "reports",
      schema: ticketReportsSchema,
      make: (n: number) => ({ reports: Array(n).fill(opened) }),
      max: ticketReportsMax,
    },
    {
      name: "failed endpoints",
      schema: ticketReportsSchema,
      make: (n: number) => ({ reports: [{ ...closed, failed: Array(n).fill("h:1") }] }),
      max: destinationsMax,
    },
    {
      name: "failed prefillers",
      schema: ticketReportsSchema,
      make: (n: number) => ({
        reports: [{ ...closed, stages: { ...stages, failed: Array(n).fill("h:1") } }],
      }),
      max: destinationsMax,
    },
    {
      name: "characters of a ticket's name",
      schema: ticketReportsSchema,
      make: (n: number) => ({ reports: [{ ...opened, ticket: "t".repeat(n) }] }),
      max: ticketCharsMax,
    },
    {
      name: "characters of a request id",
      schema: ticketReportsSchema,
      make: (n: number) => ({ reports: [{ ...opened, requestId: "r".repeat(n) }] }),
      max: requestIdCharsMax,
    },
    {
      name: "marks",
      schema: marksSchema,
      make: (n: number) => ({ marks: Array(n).fill(mark(1)) }),
      max: marksMax,
    },
    {
      name: "ms of a mark's lease",
      schema: marksSchema,
      make: (n: number) => ({ marks: [mark(n)] }),
      max: markLeaseMsMax,
    },
    {
      name: "tickets whose answers have begun",
      schema: startedSchema,
      make: (n: number) => ({ tickets: Array(n).fill({ ticket: "t", attempt: 0 }) }),
      max: startedTicketsMax,
    },
    {
      name: "characters of an evicted ticket's name",
      schema: fromObjectSchema,
      make: (n: number) => ({ t: "evict", ticket: "t".repeat(n), attempt: 0, retryAfterMs: 0 }),
      max: ticketCharsMax,
    },
  ])("hold $max $name and no more", ({ schema, make, max }) => {
    expect(schema.safeParse(make(max)).error).toBeUndefined();
    expect(schema.safeParse(make(max + 1)).success).toBe(false);
  });

  it("number reports from what the relay still holds on", () => {
    const frame = (oldest: number, first: number) => ({ oldest, first, reports: [opened] });
    expect(numberedReportsSchema.safeParse(frame(3, 3)).success).toBe(true);
    expect(numberedReportsSchema.safeParse(frame(4, 3)).success).toBe(false);
    expect(numberedReportsSchema.safeParse(frame(0, 3)).success).toBe(false);
    expect(numberedReportsSchema.safeParse({ reports: [opened] }).success).toBe(false);
  });

  it("let an object add fields, and an agent not", () => {
    const ack = { t: "ack", seq: 1, novelty: true };
    expect(fromObjectSchema.parse(ack)).toEqual({ t: "ack", seq: 1 });
    const hello = { t: "hello", v: 1, role: "relay", pool: "p", agent: "a", epoch: "e" };
    expect(helloSchema.safeParse(hello).success).toBe(true);
    expect(helloSchema.safeParse({ ...hello, novelty: true }).success).toBe(false);
  });
});

it("lets an older agent accept fields and engines that it does not know", () => {
  const parsed = fromObjectSchema.safeParse({
    t: "configure",
    scrapeIntervalMs: 200,
    metrics: [
      { field: "a-later-field", sources: { "a-later-engine": [{ series: "later:x", unit: "s" }] } },
    ],
    later: true,
  });
  expect(parsed.success).toBe(true);
});

it("a configure of before says nothing about first bytes and stages", () => {
  const before: unknown = JSON.parse(recorded.object.configure);
  expect(fromObjectSchema.parse(before)).not.toHaveProperty("reportsFirstByte");
  expect(fromObjectSchema.parse(before)).not.toHaveProperty("reportsStages");
  const now = { ...(before as object), reportsFirstByte: true, reportsStages: true };
  expect(fromObjectSchema.parse(now)).toMatchObject({
    reportsFirstByte: true,
    reportsStages: true,
  });
});
