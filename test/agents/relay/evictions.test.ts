// Requests that the pool's object ends for others: what is kept, and a relay over real sockets.

import { once } from "node:events";
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  FAIRLEAD_ATTEMPTS_HEADER,
  RELAY_ERROR_HEADER,
} from "../../../src/agents/protocol/headers.ts";
import { EVICTION_LIMITS, Evictions } from "../../../src/agents/relay/evictions.ts";
import {
  answerOk,
  resetConnection,
  runRelay,
  startStubEngine,
  type RunningRelay,
  type StubEngine,
} from "../support/running-relay.ts";
import { sign } from "../support/signing.ts";

const TICKET = "o1-1.e8.a0.b4.0";
const SUBJECT = { ticket: TICKET, attempt: 0 };
const EVICT = { t: "evict", ...SUBJECT, retryAfterMs: 2_100 };
const BODY = JSON.stringify({ model: "m", messages: [] });
const WAIT = { timeout: 15_000 };
const EVENT_STREAM = { "content-type": "text/event-stream" };
const EVENTS = 'data: {"choices":[{"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

describe("evicts that come before their requests", () => {
  function create(used: readonly string[] = []) {
    let nowMs = 0;
    const isUsed = (ticket: string) => used.includes(ticket);
    const evictions = new Evictions({ clock: () => nowMs, isUsed });
    return {
      evictions,
      advance: (ms: number) => (nowMs += ms),
      evict: (ticket: string) => evictions.evict({ ticket, attempt: 0, retryAfterMs: 5 }),
      isEvicted: (ticket: string, attempt = 0) => {
        const carried = evictions.enter({ ticket, attempt });
        evictions.leave(carried);
        return carried.isEvicted;
      },
    };
  }

  it("are kept for a while, for that attempt alone", () => {
    const { evict, isEvicted, advance } = create();
    expect(evict("t")).toBe("early");
    advance(EVICTION_LIMITS.earlyMs - 1);
    expect([isEvicted("t"), isEvicted("t", 1), isEvicted("u")]).toEqual([true, false, false]);
    advance(1);
    expect(isEvicted("t")).toBe(false);
  });

  it("said again are kept for longer", () => {
    const { evict, isEvicted, advance } = create();
    evict("t");
    evict("u");
    advance(1);
    evict("t");
    advance(EVICTION_LIMITS.earlyMs - 1);
    expect([isEvicted("t"), isEvicted("u")]).toEqual([true, false]);
  });

  it("are kept up to a bound, the newest ones", () => {
    const { evict, isEvicted } = create();
    for (let i = 0; i < EVICTION_LIMITS.earlyMax; i++) evict(`t${i}`);
    expect(isEvicted("t0")).toBe(true);
    evict("one more");
    expect([isEvicted("t0"), isEvicted("t1"), isEvicted("one more")]).toEqual([false, true, true]);
  });

  it("are not kept for a request that has passed", () => {
    const { evict, isEvicted } = create(["t"]);
    expect([evict("t"), isEvicted("t")]).toEqual(["over", false]);
  });

  it("reach every copy of a request, until the last has left", () => {
    const { evictions, evict } = create();
    const copies = [evictions.enter(SUBJECT), evictions.enter(SUBJECT)] as const;
    evictions.leave(copies[0]);
    expect(evict(TICKET)).toBe("ended");
    expect(copies[1].retryAfterMs).toBe(5);
    evictions.leave(copies[1]);
    expect(evict(TICKET)).toBe("early");
  });
});

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** An engine that says when a client has hung up on it. */
async function startEngine(behaviour: StubEngine["behaviour"]) {
  const hungUp = vi.fn<() => void>();
  const watched = (response: ServerResponse) => {
    response.once("close", () => {
      if (!response.writableFinished) hungUp();
    });
    behaviour(response);
  };
  const engine = stack.use(await startStubEngine(watched));
  return { engine, address: engine.address, hungUp };
}

async function relayTo(...addresses: readonly string[]): Promise<RunningRelay> {
  const running = stack.use(await runRelay(addresses));
  await vi.waitFor(() => expect(running.relay.isConnected).toBe(true), WAIT);
  return running;
}

function open(running: RunningRelay, destinations: readonly string[]): Promise<Response> {
  const signed = sign(destinations.join(","), BODY, { ticket: TICKET });
  return running.open(destinations, BODY, signed);
}

async function expectEvicted(response: Response): Promise<void> {
  expect(response.status).toBe(429);
  expect(response.headers.get(RELAY_ERROR_HEADER)).toBe("evicted");
  expect(response.headers.get("retry-after")).toBe("3");
  expect(await response.json()).toMatchObject({
    error: { type: "rate_limit_error", code: "evicted", param: null },
  });
}

const reportsOf = ({ object }: RunningRelay) => object.tickets;
const evictionsOf = (running: RunningRelay, outcome: string) =>
  running.metric(`fairlead_relay_evictions_total{outcome="${outcome}"}`);

/** Its ticket was closed once, as one that its client has given up. */
async function expectClosed(running: RunningRelay, more: object = {}): Promise<void> {
  const closed = () => reportsOf(running).filter(({ kind }) => kind === "closed");
  await vi.waitFor(() => expect(closed()).toHaveLength(1), WAIT);
  expect(closed()[0]).toMatchObject({
    ...SUBJECT,
    outcome: "cancelled",
    status: null,
    ttftMs: null,
    promptTokens: null,
    completionTokens: null,
    ...more,
  });
  expect(running.metric('fairlead_relay_requests_total{outcome="evicted"}')).toBe(1);
  expect(running.metric("fairlead_relay_open_streams")).toBe(0);
}

describe("an evicted request", () => {
  it.for<[string, StubEngine["behaviour"]]>([
    ["that its engine has not answered", () => undefined],
    [
      "of which the head alone has come",
      (response) => response.writeHead(200, EVENT_STREAM).flushHeaders(),
    ],
  ])("%s ends at once, also at the engine", async ([, behaviour]) => {
    const { engine, address, hungUp } = await startEngine(behaviour);
    const other = await startEngine(answerOk);
    const running = await relayTo(address, other.address);
    const answer = open(running, [address, other.address]);
    await vi.waitFor(() => expect(engine.requestCount).toBe(1), WAIT);
    running.object.send(EVICT);
    await expectEvicted(await answer);
    await vi.waitFor(() => expect(hungUp).toHaveBeenCalledOnce(), WAIT);
    await expectClosed(running, { endpoint: address, failed: [] });
    expect(other.engine.requestCount).toBe(0);
    expect(running.metric("fairlead_relay_marked_endpoints")).toBe(0);
    expect(evictionsOf(running, "ended")).toBe(1);
  });

  it("between two engines goes to no other", async () => {
    const dribbling = await startEngine((response) => response.writeHead(503).write("busy"));
    const other = await startEngine(answerOk);
    const running = await relayTo(dribbling.address, other.address);
    const answer = open(running, [dribbling.address, other.address]);
    await vi.waitFor(
      () => expect(running.metric('fairlead_relay_attempts_total{outcome="unavailable"}')).toBe(1),
      { ...WAIT, interval: 5 },
    );
    running.object.send(EVICT);
    const response = await answer;
    expect(response.headers.get(FAIRLEAD_ATTEMPTS_HEADER)).toBe("1");
    await expectEvicted(response);
    await expectClosed(running, { endpoint: dribbling.address });
    expect(other.engine.requestCount).toBe(0);
    expect(reportsOf(running).filter(({ kind }) => kind === "opened")).toHaveLength(1);
  });

  it("whose body has not come whole is refused when it has", async () => {
    const { engine, address } = await startEngine(answerOk);
    const running = await relayTo(address);
    const url = `http://127.0.0.1:${running.relay.port}/v1/chat/completions`;
    const headers = {
      ...sign(address, BODY, { ticket: TICKET }),
      "content-length": Buffer.byteLength(BODY),
    };
    const request = httpRequest(url, { method: "POST", headers, agent: false });
    request.write(BODY.slice(0, 3));
    await vi.waitFor(() => expect(running.metric("fairlead_relay_open_streams")).toBe(1), WAIT);
    running.object.send(EVICT);
    await vi.waitFor(() => expect(evictionsOf(running, "ended")).toBe(1), WAIT);
    request.end(BODY.slice(3));
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(429);
    response.resume();
    await expectClosed(running, { endpoint: address });
    expect(engine.requestCount).toBe(0);
  });

  it("that has not come yet is refused when it does, and not served later", async () => {
    const { engine, address } = await startEngine(answerOk);
    const running = await relayTo(address);
    running.object.send(EVICT);
    await vi.waitFor(() => expect(evictionsOf(running, "early")).toBe(1), WAIT);
    await expectEvicted(await open(running, [address]));
    await expectClosed(running, { endpoint: address });
    const again = await open(running, [address]);
    expect(again.headers.get(RELAY_ERROR_HEADER)).toBe("replayed");
    expect(engine.requestCount).toBe(0);
    running.object.send(EVICT);
    await vi.waitFor(() => expect(evictionsOf(running, "over")).toBe(1), WAIT);
  });

  it("has no retry-after where nobody knows when to come again", async () => {
    const { engine, address } = await startEngine(() => undefined);
    const running = await relayTo(address);
    const answer = open(running, [address]);
    await vi.waitFor(() => expect(engine.requestCount).toBe(1), WAIT);
    running.object.send({ ...EVICT, retryAfterMs: 0 });
    const { status, headers } = await answer;
    expect([status, headers.get("retry-after")]).toEqual([429, null]);
  });
});

describe("a request that goes on", () => {
  it("is one whose answer has begun, though it were a head that was held for long", async () => {
    let finish: () => void = () => undefined;
    const { address, hungUp } = await startEngine((response) => {
      response.writeHead(200, EVENT_STREAM).flushHeaders();
      finish = () => response.end(EVENTS);
    });
    const running = stack.use(await runRelay([address], { headHeldMsMax: 20 }));
    await vi.waitFor(() => expect(running.relay.isConnected).toBe(true), WAIT);
    const response = await open(running, [address]);
    expect(response.status).toBe(200);
    running.object.send(EVICT);
    await vi.waitFor(() => expect(evictionsOf(running, "begun")).toBe(1), WAIT);
    finish();
    expect(await response.text()).toContain("[DONE]");
    await vi.waitFor(() => expect(reportsOf(running)).toHaveLength(2), WAIT);
    expect(reportsOf(running)[1]).toMatchObject({ kind: "closed", outcome: "ok" });
    expect(hungUp).not.toHaveBeenCalled();
    expect(running.object.started).toEqual([]);
  });

  it("is another one, or another attempt of the same", async () => {
    const { engine, address } = await startEngine(() => undefined);
    const running = await relayTo(address);
    const answer = open(running, [address]);
    await vi.waitFor(() => expect(engine.requestCount).toBe(1), WAIT);
    running.object.send({ ...EVICT, attempt: 1 });
    running.object.send({ ...EVICT, ticket: "o1-2.e8.a0.b4.0" });
    await vi.waitFor(() => expect(evictionsOf(running, "early")).toBe(2), WAIT);
    expect(running.metric("fairlead_relay_open_streams")).toBe(1);
    running.object.send(EVICT);
    await expectEvicted(await answer);
  });

  it("is one that moved to an engine which answered", async () => {
    const broken = await startEngine(resetConnection);
    const good = await startEngine(answerOk);
    const running = await relayTo(broken.address, good.address);
    const response = await open(running, [broken.address, good.address]);
    expect(response.status).toBe(200);
    await response.text();
    running.object.send(EVICT);
    await vi.waitFor(() => expect(evictionsOf(running, "over")).toBe(1), WAIT);
  });
});
