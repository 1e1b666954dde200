import { describe, expect, it } from "vitest";
import { OBJECT_RTT_MS_MAX, objectRttMs } from "../../src/config/object-rtt.ts";

describe("objectRttMs", () => {
  it.for([
    { env: {}, rttMs: 0 },
    { env: { OBJECT_RTT_MS: 40 }, rttMs: 40 },
    { env: { OBJECT_RTT_MS: "40" }, rttMs: 0 },
    { env: { OBJECT_RTT_MS: -1 }, rttMs: 0 },
    { env: { OBJECT_RTT_MS: NaN }, rttMs: 0 },
    { env: { OBJECT_RTT_MS: 1e9 }, rttMs: OBJECT_RTT_MS_MAX },
  ])("is $rttMs of $env", ({ env, rttMs }) => {
    expect(objectRttMs(env)).toBe(rttMs);
  });
});
