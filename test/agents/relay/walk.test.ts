// What the relay remembers between walks: marks, and the retry budget. Real sockets throughout.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  DESTINATION_SERVED_HEADER,
  FAIRLEAD_ATTEMPTS_HEADER,
  RELAY_ERROR_HEADER,
} from "../../../src/agents/protocol/headers.ts";
import { MARK_LIMITS } from "../../../src/agents/relay/endpoint-marks.ts";
import { RETRY_RESERVE } from "../../../src/agents/relay/relay.ts";
import { REQUESTS_PER_RETRY } from "../../../src/scheduler/support/retry-budget.ts";
import {
  answerOk,
  answerStatus,
  resetConnection,
  runRelay,
  startStubEngine,
  type Answer,
  type StubEngine,
} from "../support/running-relay.ts";

/** Ports that nobody listens on. */
const NOBODY = "127.0.0.1:1";
const NOBODY_ELSE = "127.0.0.1:2";
const WAIT = { timeout: 15_000 };
const MARKED = "fairlead_relay_marked_endpoints";
const DENIED = "fairlead_relay_retries_denied_total";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function engine(behaviour: StubEngine["behaviour"] = answerOk): Promise<StubEngine> {
  return stack.use(await startStubEngine(behaviour));
}
async function relayTo(...addresses: readonly string[]) {
  return stack.use(await runRelay(addresses));
}
/** A process that listens and is stopped, its accept queue full: further connects wait. */
async function startStuckListener(): Promise<AsyncDisposable & { readonly address: string }> {
  const script = `const server = require("node:net").createServer().listen(
    { port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port))`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(line.toString());
  child.kill("SIGSTOP");
  const fillers = Array.from({ length: 4 }, () => connect({ port, host: "127.0.0.1" }));
  for (const socket of fillers) socket.on("error", () => undefined);
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}
const served = (answer: Answer) => answer.headers.get(DESTINATION_SERVED_HEADER);
const attempts = (answer: Answer) => answer.headers.get(FAIRLEAD_ATTEMPTS_HEADER);

type Behaviour = StubEngine["behaviour"];
const EVENT_STREAM = { "content-type": "text/event-stream" };
const EMPTY_STREAMS: Readonly<Record<string, Behaviour>> = {
  "chunked, some time after its head": (response) => {
    response.writeHead(200, EVENT_STREAM).flushHeaders();
    setTimeout(() => response.end(), 50);
  },
  "closed, some time after its head": (response) => {
    response.writeHead(200, { ...EVENT_STREAM, connection: "close" }).flushHeaders();
    response.socket!.uncork();
    setTimeout(() => response.socket!.end(), 50);
  },
  "with its head": (response) => {
    response.writeHead(200, { ...EVENT_STREAM, "content-length": 0 }).end();
  },
};

describe("a stream that ends in order before its first byte", () => {
  it.for(Object.keys(EMPTY_STREAMS))("%s, is asked of another endpoint at once", async (name) => {
    const [empty, good] = [await engine(EMPTY_STREAMS[name]), await engine()];
    const relay = await relayTo(empty.address, good.address);
    const answer = await relay.ask([empty.address, good.address]);
    expect([answer.status, served(answer), attempts(answer)]).toEqual([200, good.address, "2"]);
  });
});

describe("marks", () => {
  it("put an endpoint that refuses connections behind the others, for its lease", async () => {
    const good = await engine();
    const { ask, metric } = await relayTo(NOBODY, good.address);
    expect(attempts(await ask([NOBODY, good.address]))).toBe("2");
    expect(metric(MARKED)).toBe(1);
    expect(attempts(await ask([NOBODY, good.address]))).toBe("1");
  });

  it("put one that breaks connections behind the others", async () => {
    const good = await engine();
    const bad = await engine(resetConnection);
    const { ask } = await relayTo(bad.address, good.address);
    await ask([bad.address, good.address]);
    await ask([bad.address, good.address]);
    expect(bad.requestCount).toBe(1);
  });

  it("put one that does not accept connections behind the others", async () => {
    const good = await engine();
    const stuck = stack.use(await startStuckListener());
    const { ask, metric, object } = await relayTo(stuck.address, good.address);
    expect(served(await ask([stuck.address, good.address]))).toBe(good.address);
    expect(metric(MARKED)).toBe(1);
    expect(attempts(await ask([stuck.address, good.address]))).toBe("1");
    const marks = object.frames.flatMap((frame) => (frame.kind === "marks" ? frame.marks : []));
    expect(marks.map(({ why }) => why)).toEqual(["timeout"]);
  });

  it("never leave an endpoint out, and are cleared when it answers", async () => {
    const bad = await engine(resetConnection);
    const { ask, metric } = await relayTo(bad.address, NOBODY);
    const first = await ask([bad.address, NOBODY]);
    expect([first.status, attempts(first)]).toEqual([502, "2"]);
    expect(first.headers.get(RELAY_ERROR_HEADER)).toBe("exhausted");
    expect(metric(MARKED)).toBe(2);
    bad.behaviour = answerOk;
    expect(await ask([NOBODY, bad.address])).toMatchObject({ status: 200 });
    expect(metric(MARKED)).toBe(1);
  });

  it("are not set by a full engine", async () => {
    const full = await engine(answerStatus(429));
    const good = await engine();
    const { ask, metric } = await relayTo(full.address, good.address);
    for (let i = 0; i < 2 * MARK_LIMITS.unavailableStreak; i++) {
      expect(served(await ask([full.address, good.address]))).toBe(good.address);
    }
    expect(metric(MARKED)).toBe(0);
    expect(full.requestCount).toBe(2 * MARK_LIMITS.unavailableStreak);
  });

  it.for([502, 503])("are set by a streak of %i, not by one", async (status) => {
    const ill = await engine(answerStatus(status));
    const good = await engine();
    const { ask, metric } = await relayTo(ill.address, good.address);
    for (let i = 1; i < MARK_LIMITS.unavailableStreak; i++) {
      await ask([ill.address, good.address]);
    }
    expect(metric(MARKED)).toBe(0);
    await ask([ill.address, good.address]);
    expect(metric(MARKED)).toBe(1);
  });

  it("of an engine that says it is overloaded end with their lease, whatever it asks for", async () => {
    const overloaded = await engine((response) => {
      const headers = { "content-type": "application/json", "retry-after": "600" };
      response.writeHead(503, headers).end('{"error":{"message":"overloaded","code":503}}');
    });
    const good = await engine();
    const list = [overloaded.address, good.address];
    const { ask, metric, object, relay } = await relayTo(...list);
    await vi.waitFor(() => expect(relay.isConnected).toBe(true), WAIT);
    for (let i = 0; i < MARK_LIMITS.unavailableStreak; i++) await ask(list);
    expect(metric(MARKED)).toBe(1);
    overloaded.behaviour = answerOk;
    expect(served(await ask(list))).toBe(good.address);
    expect(overloaded.requestCount).toBe(MARK_LIMITS.unavailableStreak);
    await vi.waitFor(async () => expect(served(await ask(list))).toBe(overloaded.address), {
      ...WAIT,
      interval: 50,
    });
    expect(metric(MARKED)).toBe(0);
    const marks = object.frames.flatMap((frame) => (frame.kind === "marks" ? frame.marks : []));
    expect(marks).toMatchObject([{ endpoint: overloaded.address, why: "unavailable" }]);
    expect(marks[0]!.leaseMs).toBeLessThanOrEqual(MARK_LIMITS.leaseMsMin);
  });

  it("are not set on every endpoint by one request that breaks them all", async () => {
    const fragile = [await engine(resetConnection), await engine(resetConnection)];
    const addresses = fragile.map(({ address }) => address);
    const { ask, metric } = await relayTo(...addresses);
    const answer = await ask(addresses);
    expect([answer.status, attempts(answer)]).toEqual([502, "2"]);
    expect(metric(MARKED)).toBe(1);
  });
});

describe("the pool's object", () => {
  it("is told of a mark when it is set, after a resync, and when it is cleared", async () => {
    const bad = await engine(resetConnection);
    const running = await relayTo(bad.address);
    const { ask, object } = running;
    const told = () =>
      object.frames.flatMap((frame) => (frame.kind === "marks" ? frame.marks : []));
    await vi.waitFor(() => expect(running.relay.isConnected).toBe(true), WAIT);
    await ask([bad.address]);
    await vi.waitFor(() => expect(told()).toHaveLength(1), WAIT);
    expect(told()[0]).toMatchObject({ endpoint: bad.address, why: "reset" });
    expect(told()[0]!.leaseMs).toBeGreaterThan(0);
    object.send({ t: "resync", reason: "test" });
    await vi.waitFor(() => expect(told()).toHaveLength(2), WAIT);
    expect(told()[1]).toMatchObject({ endpoint: bad.address, why: "reset" });
    bad.behaviour = answerOk;
    await ask([bad.address]);
    await vi.waitFor(() => expect(told()).toHaveLength(3), WAIT);
    expect(told()[2]).toEqual({ endpoint: bad.address, leaseMs: 0, why: "answered" });
  });

  it("is told what still stands when the session is back, and nothing else", async () => {
    const good = await engine();
    const running = await relayTo(NOBODY, good.address);
    const { ask, object } = running;
    const told = () => object.frames.filter((frame) => frame.kind === "marks");
    await vi.waitFor(() => expect(running.relay.isConnected).toBe(true), WAIT);
    object.upgradeStatus = 503;
    object.socket!.terminate();
    await vi.waitFor(() => expect(running.relay.isConnected).toBe(false), WAIT);
    await ask([NOBODY, good.address]);
    expect(told()).toHaveLength(0);
    object.upgradeStatus = 101;
    await vi.waitFor(() => expect(told()).toHaveLength(1), WAIT);
    expect(told()[0]!.marks).toMatchObject([{ endpoint: NOBODY, why: "refused" }]);
  });

  it("of the version before is told nothing", async () => {
    const good = await engine();
    const running = await relayTo(NOBODY, good.address);
    const { ask, object } = running;
    object.version = 1;
    await vi.waitFor(() => expect(running.relay.isConnected).toBe(true), WAIT);
    object.socket!.terminate();
    await vi.waitFor(() => expect(object.hellos.at(-1)!.v).toBe(1), WAIT);
    await vi.waitFor(() => expect(running.relay.isConnected).toBe(true), WAIT);
    await ask([NOBODY, good.address]);
    await vi.waitFor(() => expect(object.tickets.length).toBeGreaterThan(0), WAIT);
    expect(object.frames.filter((frame) => frame.kind === "marks")).toEqual([]);
  });
});

describe("the retry budget", { timeout: 60_000 }, () => {
  it("lets a reserve of requests move at once, and then hands out the engine's own answer", async () => {
    const full = await engine(answerStatus(429));
    const good = await engine();
    const { ask, metric } = await relayTo(full.address, good.address);
    const list = [full.address, good.address];
    // Every tenth of these earns one more.
    const movable = Math.floor((RETRY_RESERVE * REQUESTS_PER_RETRY) / (REQUESTS_PER_RETRY - 1));
    let moved = 0;
    let answer = await ask(list);
    for (; answer.status === 200 && moved <= movable; answer = await ask(list)) moved += 1;
    expect(Math.abs(moved - movable)).toBeLessThanOrEqual(1);
    expect([answer.status, served(answer), attempts(answer)]).toEqual([429, full.address, "1"]);
    expect(metric(DENIED)).toBe(1);
  });

  it("stops a walk whose connection broke, but no walk past a refused one", async () => {
    const full = await engine(answerStatus(429));
    const broken = await engine(resetConnection);
    const good = await engine();
    const { ask, metric } = await relayTo(full.address, broken.address, good.address, NOBODY);
    for (let i = 0; metric(DENIED) === 0 && i < 2 * RETRY_RESERVE; i++) {
      await ask([full.address, good.address]);
    }
    const stopped = await ask([broken.address, good.address]);
    expect([stopped.status, attempts(stopped)]).toEqual([502, "1"]);
    expect(served(await ask([NOBODY, good.address]))).toBe(good.address);
  });
});

it("counts no endpoint that was not tried", async () => {
  const good = await engine();
  const { ask } = await relayTo(good.address);
  const walked = await ask([NOBODY, NOBODY_ELSE, good.address]);
  expect([served(walked), attempts(walked)]).toEqual([good.address, "1"]);
});
