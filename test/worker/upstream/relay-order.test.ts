import { beforeEach, describe, expect, it } from "vitest";
import type { RelayConfig } from "../../../src/config/deployment.ts";
import { Breakers, OVERLOAD_LEASE_MS } from "../../../src/scheduler/pools/breakers.ts";
import { BREAKER_DEFAULTS } from "../../../src/scheduler/pools/breaker.ts";
import {
  acquireRelay,
  orderRelays,
  recordAttempt,
  relayKey,
} from "../../../src/worker/upstream/relay-order.ts";
import type { RelayAnswer } from "../../../src/worker/upstream/relay-fetch.ts";

const POOL = "eu-1";
const relays = ["a", "b", "c"].map((url) => ({ url })) as unknown as RelayConfig[];
const [only] = relays as [RelayConfig];
const rng = () => 0;

let breakers: Breakers;
let nowMs: number;
beforeEach(() => {
  breakers = new Breakers();
  nowMs = 1_000_000;
});

const order = (random = 0) =>
  orderRelays(relays, breakers, nowMs, () => random).map(({ url }) => url);

/** One attempt at the first of `of`, told as it would be. */
function attempt(answer: Answer, of: readonly RelayConfig[] = [only], isUpstream = false): void {
  const keys = of.map(relayKey);
  const [key] = keys as [string];
  const permits = {
    pool: breakers.acquire(POOL, nowMs),
    relay: acquireRelay(key, of, breakers, nowMs),
  };
  const judged = { pool: POOL, keys, key, isUpstream, permits };
  recordAttempt(judged, { endpointsTried: 1, ...answer }, breakers, { nowMs, rng });
}

type Answer = Omit<RelayAnswer, "endpointsTried"> & RelayAnswerKind;
type RelayAnswerKind =
  | { kind: "unreachable" | "cancelled" }
  | { kind: "declined"; code: string; retryAfterMs: number }
  | { kind: "answered"; response: Response; endpoint: string };

const UNREACHABLE: Answer = { kind: "unreachable" };
const declined = (code: string): Answer => ({ kind: "declined", code, retryAfterMs: 0 });
const answered = (status: number): Answer => ({
  kind: "answered",
  response: new Response(null, { status }),
  endpoint: "10.0.0.1:8000",
});

describe("relays", () => {
  it.for([
    { random: 0, expected: ["a", "b", "c"] },
    { random: 0.34, expected: ["b", "c", "a"] },
    { random: 0.999, expected: ["c", "a", "b"] },
  ])("begin at $expected for $random", ({ random, expected }) => {
    expect(order(random)).toEqual(expected);
  });

  it("come last while they are lost, and are tried by one request after that", () => {
    attempt(UNREACHABLE, relays);
    expect(order()).toEqual(["b", "c", "a"]);
    expect(acquireRelay(only.url, relays, breakers, nowMs)).toBeUndefined();
    nowMs += BREAKER_DEFAULTS.leaseMs;
    expect(order()).toEqual(["a", "b", "c"]);
    expect(acquireRelay(only.url, relays, breakers, nowMs)).toBe("probe");
    expect(order()).toEqual(["b", "c", "a"]);
  });

  it("come behind others for a moment where they are busy", () => {
    attempt(declined("busy"), relays);
    expect(order()).toEqual(["b", "c", "a"]);
    nowMs += OVERLOAD_LEASE_MS;
    expect(order()).toEqual(["a", "b", "c"]);
  });
});

describe("a pool", () => {
  it.for([UNREACHABLE, declined("stopping")])("with one relay is lost with it, by $kind", (how) => {
    attempt(how);
    expect(breakers.state(POOL, nowMs)).toBe("open");
  });

  it("is lost with the last of its relays", () => {
    for (let i = 0; i < relays.length; i++) {
      expect(breakers.state(POOL, nowMs)).toBe("closed");
      attempt(UNREACHABLE, [...relays.slice(i), ...relays.slice(0, i)]);
    }
    expect(breakers.state(POOL, nowMs)).toBe("open");
  });

  it.for([
    { name: "a client that left", answer: { kind: "cancelled" } as Answer },
    { name: "429", answer: answered(429) },
    { name: "an evicted request", answer: declined("evicted") },
    { name: "a busy relay", answer: declined("busy") },
    { name: "a replayed ticket", answer: declined("replayed") },
  ])("is not lost by $name, however often", ({ answer }) => {
    for (let i = 0; i < 50; i++) attempt(answer);
    expect(breakers.state(POOL, nowMs)).toBe("closed");
  });

  it("is overloaded for a moment after 429", () => {
    attempt(answered(429));
    expect(breakers.isOverloaded(POOL, nowMs)).toBe(true);
    expect(breakers.isOverloaded(POOL, nowMs + OVERLOAD_LEASE_MS)).toBe(false);
  });

  it.for([
    { name: "its engines fail", answer: answered(500) },
    { name: "its engines cannot be reached", answer: declined("exhausted") },
    { name: "its relay does not take the signature", answer: declined("bad-signature") },
    { name: "its engines do not begin", answer: declined("engine-timeout") },
  ])("is lost when $name, some times in a row", ({ answer }) => {
    for (let i = 1; i < BREAKER_DEFAULTS.consecutiveFailures; i++) attempt(answer);
    expect(breakers.state(POOL, nowMs)).toBe("closed");
    attempt(answer);
    expect(breakers.state(POOL, nowMs)).toBe("open");
  });

  it("is back with the first answer of a probe, and gives a probe that shows nothing to the next", () => {
    attempt(UNREACHABLE);
    nowMs += BREAKER_DEFAULTS.leaseMs;
    expect(breakers.state(POOL, nowMs)).toBe("half-open");
    attempt(answered(429));
    expect(breakers.state(POOL, nowMs)).toBe("half-open");
    attempt(answered(200));
    expect(breakers.state(POOL, nowMs)).toBe("closed");
  });
});

describe("upstreams", () => {
  const code = (name: string): Answer => ({ kind: "declined", code: name, retryAfterMs: 0 });

  it("that fail are not the pool while others are left", () => {
    for (let i = 0; i < BREAKER_DEFAULTS.consecutiveFailures; i++)
      attempt(code("upstream-failed"), relays);
    expect([breakers.state("a", nowMs), breakers.state(POOL, nowMs)]).toEqual(["open", "closed"]);
    for (let i = 0; i < BREAKER_DEFAULTS.consecutiveFailures; i++) attempt(code("upstream-failed"));
    expect(breakers.state(POOL, nowMs)).toBe("open");
  });

  it("that are configured wrongly are left at once", () => {
    attempt(code("upstream-fault"), relays);
    expect([breakers.state("a", nowMs), breakers.state(POOL, nowMs)]).toEqual(["open", "closed"]);
  });

  it("that are full are tried after others for a moment", () => {
    attempt(code("upstream-full"), relays);
    expect([breakers.state("a", nowMs), breakers.isOverloaded("a", nowMs)]).toEqual([
      "closed",
      true,
    ]);
    expect(breakers.isOverloaded("a", nowMs + OVERLOAD_LEASE_MS)).toBe(false);
  });

  it("that are full are it also where that is the answer, and no failure of the pool", () => {
    const full = new Response(null, { status: 503, headers: { "retry-after": "1" } });
    const answer = { ...answered(503), response: full } as Answer;
    for (let i = 0; i < BREAKER_DEFAULTS.consecutiveFailures; i++) attempt(answer, relays, true);
    expect([breakers.state(POOL, nowMs), breakers.isOverloaded("a", nowMs)]).toEqual([
      "closed",
      true,
    ]);
    expect(breakers.isOverloaded(POOL, nowMs)).toBe(true);
  });
});
