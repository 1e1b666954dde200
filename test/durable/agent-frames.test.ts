import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeFrame,
  encodeMetrics,
  FRAME,
  type FrameType,
  type MetricsRow,
} from "../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../src/agents/protocol/limits.ts";
import { ROW_FIELDS } from "../../src/agents/protocol/metrics-specification.ts";
import { PROTOCOL_VERSION } from "../../src/agents/protocol/version.ts";
import { AgentFrames, parseHello } from "../../src/durable/agent-frames.ts";

const ENDPOINTS = [
  { id: "default/a", address: "10.0.0.1:8000", engine: "vllm", labels: {} },
  { id: "default/b", address: "10.0.0.2:8000", engine: "vllm", labels: {} },
] as const;

const version = PROTOCOL_VERSION;
const newFrames = () => new AgentFrames(version);
const encodeRows = (seq: number, rows: readonly MetricsRow[]) =>
  encodeMetrics({ version, seq }, rows);
function json(type: FrameType, seq: number, value: unknown) {
  return encodeFrame({ type, version, seq }, new TextEncoder().encode(JSON.stringify(value)));
}
const membership = (seq: number) => json(FRAME.membership, seq, { endpoints: ENDPOINTS });
const row = (values: number[], mask: number, endpoint = 0): MetricsRow => ({
  endpoint,
  status: 0,
  ageMs: 5,
  mask,
  values,
});

describe("metrics rows", () => {
  it("are completed with what the agent said before", () => {
    const frames = newFrames();
    frames.decode(membership(1));
    frames.decode(encodeRows(2, [row([4, 2], 0b11)]));
    const outcome = frames.decode(encodeRows(3, [row([7], 0b10), row([], 0, 1)]));
    if (!outcome.ok || outcome.frame.kind !== "metrics") throw new Error("not metrics");
    expect(outcome.frame.rows.map(({ endpoint, values }) => [endpoint.id, ...values])).toEqual([
      ["default/a", 4, 7, NaN, NaN, NaN, NaN],
      ["default/b", NaN, NaN, NaN, NaN, NaN, NaN],
    ]);
  });

  it("are ignored before a membership and after a gap until the next one", () => {
    const frames = newFrames();
    const early = { ok: true, frame: { kind: "ignored", why: "early" } };
    expect(frames.decode(encodeRows(41, [row([4], 1)]))).toMatchObject({
      ...early,
      isAfterGap: false,
    });
    frames.decode(membership(42));
    expect(frames.decode(encodeRows(44, [row([4], 1)]))).toMatchObject({
      ...early,
      isAfterGap: true,
    });
    expect(frames.decode(membership(45))).toMatchObject({ isAfterGap: false });
    expect(frames.decode(encodeRows(46, [row([4], 1)]))).toMatchObject({
      frame: { kind: "metrics" },
    });
  });

  it.for([
    ["of an endpoint that was not listed", row([1], 1, 2)],
    ["with a field that was not asked for", row([1], 1 << ROW_FIELDS.length)],
  ] as const)("%s are refused", ([, bad]) => {
    const frames = newFrames();
    frames.decode(membership(1));
    expect(frames.decode(encodeRows(2, [bad]))).toEqual({ ok: false, error: "bad-payload" });
  });
});

describe("scalars", () => {
  const listed = (seq: number, scalars: readonly string[]) =>
    json(FRAME.membership, seq, { endpoints: ENDPOINTS, scalars });

  it("stand behind the fields, under the keys that the membership named", () => {
    const frames = newFrames();
    frames.decode(listed(1, ["gpu", "power"]));
    const outcome = frames.decode(encodeRows(2, [row([1, 0.5], 0b1000_0001)]));
    if (!outcome.ok || outcome.frame.kind !== "metrics") throw new Error("not metrics");
    const [first] = outcome.frame.rows;
    expect(first!.scalars).toEqual(["gpu", "power"]);
    expect([...first!.values]).toEqual([1, NaN, NaN, NaN, NaN, NaN, NaN, 0.5]);
  });

  it("end with a membership that names none", () => {
    const frames = newFrames();
    frames.decode(listed(1, ["gpu"]));
    frames.decode(membership(2));
    expect(frames.decode(encodeRows(3, [row([1], 1 << ROW_FIELDS.length)]))).toEqual({
      ok: false,
      error: "bad-payload",
    });
  });
});

describe("models", () => {
  const models = (seq: number, endpoint: number) =>
    json(FRAME.models, seq, {
      names: ["sql", "law", "base"],
      endpoints: [{ endpoint, lora: { active: [0], waiting: [1], max: 4 }, models: [2, 0] }],
    });

  it("come with their names and their endpoint", () => {
    const frames = newFrames();
    frames.decode(membership(1));
    expect(frames.decode(models(2, 1))).toMatchObject({
      frame: {
        kind: "models",
        served: [
          {
            endpoint: { id: "default/b" },
            lora: { active: ["sql"], waiting: ["law"], maxActive: 4 },
            models: ["base", "sql"],
          },
        ],
      },
    });
  });

  it("are ignored before a membership, and refused for an endpoint that was not listed", () => {
    const frames = newFrames();
    expect(frames.decode(models(1, 0))).toMatchObject({ frame: { kind: "ignored", why: "early" } });
    frames.decode(membership(2));
    expect(frames.decode(models(3, 2))).toEqual({ ok: false, error: "bad-payload" });
  });
});

describe("sequence", () => {
  it("ignores what was seen before", () => {
    const frames = newFrames();
    frames.decode(membership(5));
    for (const seq of [5, 4, 1]) {
      expect(frames.decode(membership(seq))).toMatchObject({
        frame: { kind: "ignored", why: "replayed" },
      });
    }
  });

  it("takes ticket reports also after a gap", () => {
    const frames = newFrames();
    frames.decode(membership(1));
    expect(
      frames.decode(json(FRAME.tickets, 9, { oldest: 1, first: 1, reports: [] })),
    ).toMatchObject({
      frame: { kind: "tickets", seq: 9 },
      isAfterGap: true,
    });
  });
});

describe("bad frames", () => {
  it("are errors, not exceptions", () => {
    const decode = (bytes: Uint8Array) => newFrames().decode(bytes);
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(FRAME)),
        fc.uint8Array({ maxLength: 64 }),
        (type, payload) => {
          expect(decode(encodeFrame({ type, version, seq: 2 }, payload))).toHaveProperty("ok");
          expect(decode(payload)).toHaveProperty("ok");
        },
      ),
    );
  });

  it.for([
    ["not UTF-8", new Uint8Array([0xff, 0xfe])],
    ["not JSON", new TextEncoder().encode("{")],
    ["of another schema", new TextEncoder().encode('{"endpoints":[{"id":"x"}]}')],
  ] as const)("a membership that is %s is refused", ([, payload]) => {
    expect(
      newFrames().decode(encodeFrame({ type: FRAME.membership, version, seq: 1 }, payload)),
    ).toEqual({
      ok: false,
      error: "bad-payload",
    });
  });

  it("one endpoint or one report too many is refused", () => {
    const endpoints = Array.from({ length: PROTOCOL_LIMITS.endpointsMax + 1 }, (_, i) => ({
      ...ENDPOINTS[0],
      id: `e${i}`,
    }));
    const reports = Array.from({ length: PROTOCOL_LIMITS.ticketReportsMax + 1 }, () => ({
      kind: "opened",
      ticket: "t",
      attempt: 0,
      endpoint: "h:1",
    }));
    const refused = { ok: false, error: "bad-payload" };
    expect(newFrames().decode(json(FRAME.membership, 1, { endpoints }))).toEqual(refused);
    expect(newFrames().decode(json(FRAME.tickets, 1, { oldest: 1, first: 1, reports }))).toEqual(
      refused,
    );
    reports.pop();
    expect(
      newFrames().decode(json(FRAME.tickets, 1, { oldest: 1, first: 1, reports })),
    ).toMatchObject({
      ok: true,
    });
  });
});

describe("hello", () => {
  const hello = { t: "hello", v: 1, role: "relay", pool: "p", agent: "a", epoch: "e" };

  it.for([
    ["not JSON", "{", "bad-hello"],
    ["without a name", JSON.stringify({ ...hello, agent: "" }), "bad-hello"],
    ["of a later version", JSON.stringify({ ...hello, v: 99 }), "unsupported-version"],
    ["with an unknown field", JSON.stringify({ ...hello, x: 1 }), "bad-hello"],
  ] as const)("%s is refused with a reason", ([, text, code]) => {
    expect(parseHello(text, "versions 1 to 1")).toMatchObject({ ok: false, code });
  });

  it("is accepted as the protocol defines it", () => {
    expect(parseHello(JSON.stringify(hello), "")).toMatchObject({ ok: true, hello });
  });
});
