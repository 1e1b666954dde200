import { describe, expect, it } from "vitest";
import type { HeldWait, PoolPort, EdgePort } from "../../../src/durable/contract.ts";
import { fartherPort } from "../../../src/worker/upstream/farther-port.ts";

const RTT_MS = 60;
/** Timers may be early by less than this. */
const EARLY_MS = 5;

/** What is called, and when. */
function near(answer: unknown) {
  const calledMs: number[] = [];
  const call = () => {
    calledMs.push(performance.now());
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return {
    calledMs,
    port: { pick: call, leave: call, sync: call } as unknown as PoolPort & EdgePort,
  };
}

async function timed<Answer>(call: () => Promise<Answer>) {
  const startedMs = performance.now();
  const answer = await call().catch((error: unknown) => error);
  return { startedMs, answer, elapsedMs: performance.now() - startedMs };
}

describe("fartherPort", () => {
  it.for(["pick", "leave", "sync"] as const)("makes %s take longer, each way", async (name) => {
    const { calledMs, port } = near({ ok: false });
    const far = fartherPort(port, RTT_MS) as unknown as Record<string, () => Promise<unknown>>;
    const { startedMs, answer, elapsedMs } = await timed(() => far[name]!());
    expect(answer).toEqual({ ok: false });
    expect(calledMs[0]! - startedMs).toBeGreaterThan(RTT_MS / 2 - EARLY_MS);
    expect(elapsedMs).toBeGreaterThan(RTT_MS - EARLY_MS);
  });

  it("tells a failure as late as an answer", async () => {
    const { port } = near(new Error("away"));
    const { answer, elapsedMs } = await timed(() => fartherPort(port, RTT_MS).leave("fl", 0));
    expect(answer).toEqual(new Error("away"));
    expect(elapsedMs).toBeGreaterThan(RTT_MS - EARLY_MS);
  });

  it("waits longer for a request's turn, too, and gives its place up where it is asked to", async () => {
    let isDisposed = false;
    const held = {
      ok: "queued",
      asksForCapacity: true,
      handle: { wait: () => Promise.resolve({ ok: false }) },
      [Symbol.dispose]: () => (isDisposed = true),
    };
    const port = fartherPort(near(held).port, RTT_MS);
    const waiting = (await port.pick({} as never)) as HeldWait;
    expect(waiting).toMatchObject({ ok: "queued", asksForCapacity: true });
    const { answer, elapsedMs } = await timed(() => waiting.handle.wait());
    expect(answer).toEqual({ ok: false });
    expect(elapsedMs).toBeGreaterThan(RTT_MS - EARLY_MS);
    waiting[Symbol.dispose]();
    expect(isDisposed).toBe(true);
  });
});
