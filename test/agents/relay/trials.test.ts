// Who ends the trial of an endpoint on probation: walks at real sockets, at a time that is set.

import { afterEach, describe, expect, it, vi } from "vitest";
import { EndpointMarks, MARK_LIMITS } from "../../../src/agents/relay/endpoint-marks.ts";
import { EnginePools } from "../../../src/agents/relay/engine-pools.ts";
import {
  walk,
  type Stop,
  type Walk,
  type WalkContext,
  type WalkLeg,
} from "../../../src/agents/relay/walk.ts";
import { RetryBudget } from "../../../src/scheduler/support/retry-budget.ts";
import {
  answerOk,
  answerStatus,
  startStubEngine,
  type StubEngine,
} from "../support/running-relay.ts";

const WAIT = { timeout: 15_000 };
const LEG: WalkLeg = {
  headers: { "content-type": "application/json" },
  body: Buffer.from("{}"),
};

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** Never answers. */
const hang: StubEngine["behaviour"] = () => undefined;

interface Asked {
  readonly walked: Promise<Walk>;
  readonly leave: () => void;
}

async function setUp() {
  const ill = stack.use(await startStubEngine(hang));
  const good = stack.use(await startStubEngine(answerOk));
  const pools = new EnginePools();
  stack.defer(() => pools.destroy());
  const addresses = [ill.address, good.address];
  pools.update(addresses.map((address) => ({ id: address, address, engine: "vllm", labels: {} })));
  let nowMs = 0;
  const clock = () => nowMs;
  const marks = new EndpointMarks({ clock, rng: () => 0, onChange: () => undefined });
  const context: WalkContext = {
    pools,
    marks,
    clock,
    retries: new RetryBudget(100, () => undefined),
  };
  /** A request that prefers the ill one. */
  const request = (signal: AbortSignal, leg: WalkLeg | Stop): Promise<Walk> =>
    walk(context, {
      path: "/v1/chat/completions",
      signal,
      headHeldMsMax: 0,
      destinations: addresses,
      leg: () => leg,
      onTry: () => undefined,
      onAttempt: () => undefined,
    });
  /** It is there, or has its answer, when this resolves. */
  const ask = async (): Promise<Asked> => {
    const client = new AbortController();
    const before = ill.requestCount + good.requestCount;
    const walked = request(client.signal, LEG);
    await vi.waitFor(
      () => expect(ill.requestCount + good.requestCount).toBeGreaterThan(before),
      WAIT,
    );
    return { walked, leave: () => client.abort() };
  };
  return {
    ill,
    ask,
    /** One that is sent nowhere. */
    askUnpaired: () => request(new AbortController().signal, { stop: "unpaired" }),
    advance: (ms: number) => (nowMs += ms),
    /** Its lease is over, and nobody has tried it since. */
    putOnProbation: () => {
      marks.failed(ill.address, "reset");
      nowMs += MARK_LIMITS.leaseMsMin;
    },
  };
}

/** Who answered, of a walk that was answered. */
async function answerer({ walked }: Asked): Promise<string> {
  const { endpoint, result } = await walked;
  if (result.kind !== "answered") throw new Error(result.kind);
  result.answer.body.destroy();
  return endpoint;
}

describe("the trial of an endpoint on probation", () => {
  it("goes on when a request from before it is cancelled", async () => {
    const { ill, ask, putOnProbation } = await setUp();
    const older = await ask();
    putOnProbation();
    const trying = await ask();
    expect(ill.requestCount).toBe(2);
    older.leave();
    expect(await older.walked).toMatchObject({ result: { kind: "cancelled" } });
    expect(await answerer(await ask())).not.toBe(ill.address);
    expect(ill.requestCount).toBe(2);
    trying.leave();
    await trying.walked;
  });

  it("goes on when a request from before it is answered 429", async () => {
    const { ill, ask, putOnProbation } = await setUp();
    const held: (() => void)[] = [];
    ill.behaviour = (response) => void held.push(() => answerStatus(429)(response));
    const older = await ask();
    putOnProbation();
    const trying = await ask();
    held[0]!();
    expect(await answerer(older)).not.toBe(ill.address);
    expect(await answerer(await ask())).not.toBe(ill.address);
    expect(ill.requestCount).toBe(2);
    trying.leave();
    await trying.walked;
  });

  it("is the next one's when its own request is cancelled, or answered 429", async () => {
    const { ill, ask, putOnProbation } = await setUp();
    putOnProbation();
    const first = await ask();
    first.leave();
    await first.walked;
    ill.behaviour = answerStatus(429);
    const second = await ask();
    expect(await answerer(second)).not.toBe(ill.address);
    ill.behaviour = answerOk;
    expect(await answerer(await ask())).toBe(ill.address);
    expect(ill.requestCount).toBe(3);
  });

  it("is the next one's when nothing was sent after all", async () => {
    const { ill, ask, askUnpaired, putOnProbation } = await setUp();
    putOnProbation();
    expect(await askUnpaired()).toMatchObject({ result: { kind: "unpaired" } });
    ill.behaviour = answerOk;
    expect(await answerer(await ask())).toBe(ill.address);
  });

  it("goes on when the one before it, whose time was over, is cancelled", async () => {
    const { ill, ask, advance, putOnProbation } = await setUp();
    putOnProbation();
    const late = await ask();
    advance(MARK_LIMITS.trialMsMax);
    const trying = await ask();
    expect(ill.requestCount).toBe(2);
    late.leave();
    await late.walked;
    expect(await answerer(await ask())).not.toBe(ill.address);
    expect(ill.requestCount).toBe(2);
    trying.leave();
    await trying.walked;
  });
});
