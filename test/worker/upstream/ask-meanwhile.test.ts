// What is sent while the object is asked about it: whose answer counts, by when it comes, and what becomes of the
// other.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { sendAskedMeanwhile, type Send } from "../../../src/worker/upstream/ask-meanwhile.ts";
import type { Grant } from "../../../src/worker/upstream/pool-picks.ts";
import type { RelayAnswer } from "../../../src/worker/upstream/relay-fetch.ts";
import { ManyPools } from "../support/many-pools.ts";
import { seenAs } from "../support/deployment.ts";

const WAIT_MS = 60;

describe("what was sent, and is answered", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A grant that notes what is said to it. */
  function grantOf(ticket: string) {
    const said: string[] = [];
    const grant = {
      ticket,
      release: (how: string) => void said.push(how),
      lose: async () => void said.push("lost"),
      [Symbol.dispose]: () => void said.push("disposed"),
    } as unknown as Grant;
    return { grant, said };
  }

  /** An answer; its body notes whether it is closed. */
  function answered(type: string, status = 200): { answer: RelayAnswer; closed: () => boolean } {
    let isClosed = false;
    const body = new ReadableStream({ cancel: () => void (isClosed = true) });
    const response = new Response(body, { status, headers: { "content-type": type } });
    const answer = { kind: "answered", response, endpoint: "e", endpointsTried: 1 } as const;
    return { answer, closed: () => isClosed };
  }

  /** `firstMs`, `ratherMs`: when the first answers, and the object; Infinity: never. */
  function sending({
    firstMs = 0,
    ratherMs = 0,
    isMoved = true,
    first = answered("application/json"),
  }) {
    const [here, there] = [grantOf("here"), grantOf("there")];
    const second = answered("application/json");
    const client = new AbortController();
    const sent: string[] = [];
    const closed: string[] = [];
    const held: Promise<void>[] = [];
    const send: Send = async ({ ticket }, attempt, signal) => {
      sent.push(`${ticket} ${attempt}`);
      signal.addEventListener("abort", () => void closed.push(ticket));
      if (ticket === "there") return second.answer;
      await Promise.race([
        after(firstMs),
        new Promise((done) => signal.addEventListener("abort", done)),
      ]);
      return signal.aborted ? { kind: "cancelled", endpointsTried: 1 } : first.answer;
    };
    const rather = after(ratherMs).then(() => (isMoved ? there.grant : undefined));
    const served = sendAskedMeanwhile(
      here.grant,
      { rather, attempt: 7, waitMs: WAIT_MS },
      { attempt: 1, send, signal: client.signal, hold: (work) => void held.push(work) },
    );
    const settle = async () => {
      await vi.advanceTimersByTimeAsync(10_000);
      const { grant, ...outcome } = await served;
      await Promise.all(held);
      return { ...outcome, by: grant.ticket };
    };
    return { here, there, second, client, sent, closed, held, settle };
  }

  const after = (ms: number) =>
    new Promise<void>((done) => void (ms < Infinity && setTimeout(done, ms)));

  it("stays where it is kept, whenever it answers", async () => {
    for (const firstMs of [5, 500]) {
      const { settle, sent, closed, here } = sending({ firstMs, ratherMs: 40, isMoved: false });
      expect(await settle()).toMatchObject({
        by: "here",
        isMoved: false,
        answer: { kind: "answered" },
      });
      expect([sent, closed, here.said]).toEqual([["here 1"], [], []]);
    }
  });

  it("is called off before it has answered, and the other answers", async () => {
    const { settle, sent, closed, here, there, second } = sending({ firstMs: 500, ratherMs: 40 });
    const served = await settle();
    expect(served).toMatchObject({ by: "there", isMoved: true });
    expect(served.answer).toBe(second.answer);
    expect(sent).toEqual(["here 1", "there 7"]);
    expect([closed, here.said, there.said]).toEqual([["here"], ["cancelled"], []]);
  });

  it("is called off behind a stream's head, whose body is closed", async () => {
    const first = answered("text/event-stream; charset=utf-8");
    const { settle, here } = sending({ firstMs: 5, ratherMs: 40, first });
    expect(await settle()).toMatchObject({ by: "there", isMoved: true });
    expect(first.closed()).toBe(true);
    expect(here.said).toEqual(["cancelled"]);
  });

  it("wins with a stream's head where the object has not answered in time; its late grant is lost", async () => {
    const first = answered("text/event-stream");
    const { settle, sent, closed, here, there } = sending({
      firstMs: 5,
      ratherMs: WAIT_MS + 1,
      first,
    });
    expect(await settle()).toMatchObject({ by: "here", isMoved: false, answer: first.answer });
    expect([sent, closed, here.said]).toEqual([["here 1"], [], []]);
    expect(there.said).toEqual(["lost", "disposed"]);
    expect(first.closed()).toBe(false);
  });

  it("waits no more with a head that comes later than that", async () => {
    const first = answered("text/event-stream");
    const { settle } = sending({ firstMs: WAIT_MS + 20, ratherMs: WAIT_MS + 25, first });
    expect(await settle()).toMatchObject({ by: "here", isMoved: false });
  });

  it.for([
    { name: "a whole answer", first: answered("application/json") },
    { name: "an engine's refusal", first: answered("text/event-stream", 429) },
    { name: "one without a type", first: answered("") },
  ])("wins at once with $name", async ({ first }) => {
    const { settle, here, there } = sending({ firstMs: 5, ratherMs: 40, first });
    expect(await settle()).toMatchObject({ by: "here", isMoved: false, answer: first.answer });
    expect(first.closed()).toBe(false);
    expect([here.said, there.said]).toEqual([[], ["lost", "disposed"]]);
  });

  it.for([
    { kind: "declined", code: "exhausted", retryAfterMs: 0, endpointsTried: 1 },
    { kind: "unreachable", endpointsTried: 1 },
  ] as const)("has failed at once where it is $kind before the object answers", async (answer) => {
    const first = { answer, closed: () => false };
    const { settle, there } = sending({ firstMs: 5, ratherMs: 40, first });
    expect(await settle()).toMatchObject({ by: "here", isMoved: false, answer });
    expect(there.said).toEqual(["lost", "disposed"]);
  });

  it("ends on both ways when the client leaves", async () => {
    const early = sending({ firstMs: 500, ratherMs: Infinity });
    early.client.abort();
    await vi.advanceTimersByTimeAsync(1);
    expect(early.closed).toEqual(["here"]);
    const late = sending({ firstMs: 500, ratherMs: 40 });
    await vi.advanceTimersByTimeAsync(41);
    late.client.abort();
    expect(late.closed).toEqual(["here", "there"]);
    expect(await late.settle()).toMatchObject({ by: "there" });
    const behind = sending({ firstMs: 5, ratherMs: 40, isMoved: false });
    await vi.advanceTimersByTimeAsync(6);
    behind.client.abort();
    expect(behind.closed).toEqual(["here"]);
  });
});

const OUTCOMES = ["kept", "called-off", "left", "unanswered", "other"];

/** What objects have made of what they were asked about, of a pool. */
function counted(pool: string) {
  const lines = metrics.render().split("\n");
  const of = (outcome: string) =>
    lines.find((line) =>
      line.startsWith(
        `${METRIC.edgeAskedMeanwhileTotal.name}{pool="${pool}",outcome="${outcome}"} `,
      ),
    );
  return Object.fromEntries(
    OUTCOMES.flatMap((outcome) => {
      const line = of(outcome);
      return line === undefined ? [] : [[outcome, Number(line.split(" ").at(-1))]];
    }),
  );
}

describe("a request of a pool that others send much to", () => {
  it("is answered where it was sent, where the object keeps it", async () => {
    const many = new ManyPools([{}]);
    await many.loaded(0);
    const sent = await many.send();
    expect(sent).toMatchObject({
      status: 200,
      facts: { attempts: 1, endpointsTried: 1, decided: "local:asked-meanwhile" },
    });
    const [asked] = many.asked[0]!;
    expect((await seenAs(sent.requestId))!.destinations).toEqual([
      asked!.sent!.endpoints.join(","),
    ]);
    expect(counted(many.names[0]!)).toEqual({ kept: 1 });
  });

  it("is answered elsewhere, where the object would rather have it there", async () => {
    const many = new ManyPools([{ sent: "called-off" }]);
    await many.loaded(0);
    const sent = await many.send({ user: "slow:1000" });
    expect(sent).toMatchObject({
      status: 200,
      facts: { attempts: 2, endpointsTried: 2, decided: "consult:stale" },
    });
    const [asked] = many.asked[0]!;
    const { endpoints } = asked!.sent!;
    expect((await seenAs(sent.requestId))!.destinations).toEqual([
      endpoints.join(","),
      endpoints.toReversed().join(","),
    ]);
    expect(counted(many.names[0]!)).toEqual({ "called-off": 1 });
    expect(many.asked[0]!.map(({ attempt, sent: first }) => [first?.attempt, attempt])).toEqual([
      [1, 2],
    ]);
  });

  it("is numbered anew for each attempt, made or not", async () => {
    const many = new ManyPools([{}]);
    await many.loaded(0);
    const sent = await many.send({ user: "exhausted-once" });
    expect(sent).toMatchObject({ status: 200, facts: { attempts: 2 } });
    const numbers = many.asked[0]!.flatMap((pick) => [
      pick.sent?.attempt ?? [],
      pick.attempt,
    ]).flat();
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.length).toBeGreaterThan(2);
  });

  it.for([
    { sent: "away", outcome: "unanswered" },
    { sent: "before", outcome: "other" },
    { sent: "refused", outcome: "other" },
  ] as const)("is answered where it was sent, where the object is $sent", async (how) => {
    const many = new ManyPools([{ sent: how.sent }]);
    await many.loaded(0);
    const sent = await many.send();
    expect(sent).toMatchObject({ status: 200, facts: { attempts: 1 } });
    expect(counted(many.names[0]!)).toEqual({ [how.outcome]: 1 });
    expect(many.disposed[0]).toBe(how.sent === "before" ? 1 : 0);
    expect(many.released[0]).toEqual([]);
  });

  it("is closed when its client leaves, and nobody holds on to anything", async () => {
    const many = new ManyPools([{ sent: "silent" }]);
    await many.loaded(0);
    const client = new AbortController();
    const sent = many.send({ user: "silent" }, { signal: client.signal });
    const id = await vi.waitUntil(() => many.asked[0]![0]?.request.requestId);
    await vi.waitUntil(async () => (await seenAs(id)) !== null);
    client.abort();
    expect(await sent).toMatchObject({ status: "client_closed_request" });
    await expect.poll(async () => (await seenAs(id))?.isClientGone).toBe(true);
    expect(counted(many.names[0]!)).toEqual({ left: 1 });
  });

  it("is asked about as before where it may be asked for twice", async () => {
    const many = new ManyPools([{}], { hedge: { percentile: 0.95, minMs: 5_000, budget: 0.5 } });
    await many.loaded(0);
    expect(await many.send()).toMatchObject({ facts: { decided: "consult:not-local" } });
    expect(counted(many.names[0]!)).toEqual({});
  });
});
