// Asking for endpoints, over a real socket.

import { describe, expect, inject, it } from "vitest";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { askForCapacity } from "../../../src/worker/upstream/capacity-webhook.ts";
import type { CapacityCall } from "../support/relay-server.ts";

const ASK = {
  pool: "eu-1",
  model: "m",
  reason: "no-endpoints",
  at: "2026-11-21T00:00:00.000Z",
} as const;

/** A webhook that nobody else calls; its name says how it answers. */
function webhook(name: string) {
  const url = `${inject("relayUrl")}/capacity/${name}-${crypto.randomUUID()}`;
  const calls = async () => (await fetch(url)).json<CapacityCall[]>();
  return { url, calls };
}

function counted(outcome: string): number {
  const line = metrics
    .render()
    .split("\n")
    .find((each) => {
      return each.startsWith(`${METRIC.capacityAsksTotal.name}{outcome="${outcome}"}`);
    });
  return Number(line?.split(" ").at(-1) ?? 0);
}

describe("a capacity webhook", () => {
  it("is told once who needs endpoints, with its token", async () => {
    const { url, calls } = webhook("ready");
    const before = counted("accepted");
    await askForCapacity({ url, token: "a-token-0123456789" }, ASK);
    expect(await calls()).toEqual([{ authorization: "Bearer a-token-0123456789", body: ASK }]);
    expect(counted("accepted")).toBe(before + 1);
  });

  it("is told without a token where it has none", async () => {
    const { url, calls } = webhook("ready");
    await askForCapacity({ url }, ASK);
    expect(await calls()).toEqual([{ authorization: null, body: ASK }]);
  });

  it("that fails is told once more", async () => {
    const { url, calls } = webhook("busy");
    const before = counted("accepted");
    await askForCapacity({ url }, ASK);
    expect(await calls()).toHaveLength(2);
    expect(counted("accepted")).toBe(before + 1);
  });

  it("that sends us elsewhere is not followed: the token is not for there", async () => {
    const { url, calls } = webhook("moved");
    const before = counted("refused");
    await askForCapacity({ url, token: "a-token-0123456789" }, ASK);
    expect(await calls()).toHaveLength(2);
    expect(counted("refused")).toBe(before + 1);
    const elsewhere = await fetch(`${inject("relayUrl")}/capacity/elsewhere`);
    expect(await elsewhere.json()).toEqual([]);
  });

  it("that cannot be reached is counted", async () => {
    const before = counted("unreachable");
    await askForCapacity({ url: inject("deadUrl") }, ASK);
    expect(counted("unreachable")).toBe(before + 1);
  });
});
