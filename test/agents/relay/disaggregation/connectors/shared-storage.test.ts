import { describe, expect, it } from "vitest";
import type { StagedApi } from "../../../../../src/agents/relay/disaggregation/connector.ts";
import { CONNECTOR_DEFAULTS } from "../../../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { createSharedStorage } from "../../../../../src/agents/relay/disaggregation/connectors/shared-storage.ts";

const PAIRING = { prefiller: "10.0.0.1:8000", decoder: "10.0.0.2:8000", transferId: "a" };
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function split(body: string, options = CONNECTOR_DEFAULTS, api: StagedApi = "chat") {
  return createSharedStorage(options).handOff({ api, body: Buffer.from(body) }, PAIRING)!;
}

function judge(begun: string, is: { stream: boolean; whole: boolean }) {
  return split('{"cache_hit_threshold":0.5}').probe!.judge(Buffer.from(begun), is);
}

describe("shared-storage", () => {
  it("probes with the request as it came, where it has a threshold", () => {
    const body = '{"cache_hit_threshold": 0.50,"x":1}';
    expect(text(split(body).probe!.leg.body)).toBe(body);
    expect(split('{"x":1}').probe).toBeUndefined();
  });

  it.for(["0", "0.0", "null"])("takes a threshold of %s for none", (none) => {
    const body = `{"cache_hit_threshold":${none},"x":1}`;
    expect(split(body).probe).toBeUndefined();
    const options = { ...CONNECTOR_DEFAULTS, cacheHitThreshold: 0.25 };
    expect(text(split(body, options).probe!.leg.body)).toBe('{"cache_hit_threshold":0.25,"x":1}');
  });

  it("probes with a threshold that was set for all", () => {
    const options = { ...CONNECTOR_DEFAULTS, cacheHitThreshold: 0.25 };
    expect(text(split('{"x":1}', options).probe!.leg.body)).toBe(
      '{"cache_hit_threshold":0.25,"x":1}',
    );
  });
});

const chunk = (finish: string | null) =>
  `data: {"choices":[{"delta":{"role":"assistant"},"finish_reason":${JSON.stringify(finish)}}]}\n\n`;
const whole = (finish: string) => `{"choices":[{"finish_reason":"${finish}"}]}`;

describe("a probe's answer", () => {
  it.for([
    { begun: whole("cache_threshold"), says: "prefill" },
    { begun: whole("stop"), says: "answer" },
    { begun: '{"choices":[{},{"finish_reason":"cache_threshold"}]}', says: "prefill" },
    { begun: "<html>", says: "answer" },
  ])("in one piece is judged when it is whole: $says", ({ begun, says }) => {
    expect(judge(begun, { stream: false, whole: false })).toBeUndefined();
    expect(judge(begun, { stream: false, whole: true })).toBe(says);
  });

  it.for([
    { begun: "", says: undefined },
    { begun: chunk(null), says: undefined },
    { begun: chunk(null) + chunk(null).slice(0, -1), says: undefined },
    { begun: chunk(null) + chunk(null), says: "answer" },
    { begun: chunk("cache_threshold"), says: "prefill" },
    { begun: chunk(null) + chunk("cache_threshold"), says: "prefill" },
    { begun: (chunk(null) + chunk("cache_threshold")).replaceAll("\n", "\r\n"), says: "prefill" },
    { begun: chunk(null) + chunk(null) + chunk("cache_threshold"), says: "answer" },
  ])("that streams is judged by two events ($#)", ({ begun, says }) => {
    expect(judge(begun, { stream: true, whole: false })).toBe(says);
  });

  it("that streams and ends early is the client's", () => {
    expect(judge(chunk(null), { stream: true, whole: true })).toBe("answer");
    expect(judge("", { stream: true, whole: true })).toBe("answer");
  });
});
