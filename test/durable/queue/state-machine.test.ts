// Arbitrary interleavings of everything that happens to a queue: each request ends exactly once,
// nothing is counted when nothing is left, the pool is never given more than it holds, and within a flow
// nobody is passed but while its Worker is away.

import fc from "fast-check";
import { expect, it } from "vitest";
import { type WaitAnswer, WaitingPick } from "../../../src/durable/queue/waiting-pick.ts";
import { pickOf, QueueModel, settle } from "./queue-model.ts";

const FLOWS = ["a", "b", "c"];
const LIMITS = { openWaitsMax: 3, endedPlacesMax: 4, waitingBytesMax: 20_000 };

type Operation =
  | {
      readonly kind: "arrive";
      readonly flow: number;
      readonly priority: number;
      readonly ttlMs: number;
    }
  | {
      readonly kind: "listen" | "drop" | "leave" | "ask" | "complete" | "start";
      readonly who: number;
    }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "endpoint"; readonly isThere: boolean }
  | { readonly kind: "restart" }
  | { readonly kind: "reconfigure"; readonly maxRequests: number };

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant("arrive" as const),
      flow: fc.nat(FLOWS.length - 1),
      priority: fc.integer({ min: -1, max: 1 }),
      ttlMs: fc.integer({ min: 50, max: 60_000 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom("listen", "drop", "leave", "ask", "complete", "start"),
      who: fc.nat(20),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(8_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("endpoint" as const), isThere: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reconfigure" as const),
      maxRequests: fc.integer({ min: 1, max: 20 }),
    }),
  },
);

interface Client {
  readonly id: string;
  readonly flow: string;
  readonly priority: number;
  readonly receivedAtMs: number;
  readonly ttlMs: number;
  /** What its Worker holds; undefined for a place, and once it is over. */
  wait: WaitingPick | undefined;
  holder: number;
  isListening: boolean;
  /** Ends it has heard of: one at most, and one in the end. */
  ends: string[];
  hasLeft: boolean;
}

class Run {
  readonly model = new QueueModel({
    capacity: 2,
    limits: LIMITS,
    flowControl: { enableEviction: true, defaultRequestTTL: "30s", noEndpointRequestTTL: "10s" },
  });
  readonly clients: Client[] = [];

  #checked = 0;

  async do(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case "arrive":
        this.#arrive(operation);
        break;
      case "pass":
        await this.model.pass(operation.ms);
        break;
      case "endpoint":
        this.model.setEndpoint(operation.isThere);
        break;
      case "restart":
        this.#restart();
        break;
      case "reconfigure":
        this.model.reconfigure({ maxRequests: operation.maxRequests });
        break;
      case "ask":
      case "complete":
      case "drop":
      case "leave":
      case "listen":
      case "start":
        this.#act(operation.kind, operation.who);
        break;
    }
    await settle();
    this.#check();
  }

  /** What should not be. */
  readonly complaints: string[] = [];

  #check(): void {
    const { model } = this;
    const { queue } = model;
    const state = queue.state();
    this.#demand(model.inFlight.size <= model.capacity, "more in flight than fit");
    this.#demand(state.openWaits <= LIMITS.openWaitsMax, "too many open calls");
    this.#demand(state.waiting.requests === queue.waitingCount, "waiting counted wrong");
    this.#demand(queue.heldBytes <= LIMITS.waitingBytesMax, "too many bytes");
    for (const { id, ends } of this.clients) this.#demand(ends.length <= 1, `${id} ended twice`);
    this.#checkOrder();
  }

  /** Nobody who is there and came before, in the same flow, has been passed. */
  #checkOrder(): void {
    const { dispatched, queue } = this.model;
    for (const id of dispatched.slice(this.#checked)) {
      const served = this.clients.find((client) => client.id === id)!;
      for (const { id: other, flow, priority, receivedAtMs, wait } of this.clients) {
        const isPassed =
          flow === served.flow &&
          priority === served.priority &&
          receivedAtMs < served.receivedAtMs &&
          wait?.isAway === false &&
          queue.isWaiting(wait);
        this.#demand(!isPassed, `${id} has passed ${other}`);
      }
    }
    this.#checked = dispatched.length;
  }

  #demand(isSo: boolean, complaint: string): void {
    if (!isSo) this.complaints.push(complaint);
  }

  /** Everybody is served or gone. */
  async calm(): Promise<void> {
    const { model, clients } = this;
    model.setEndpoint(true);
    for (let round = 0; round < 200; round++) {
      for (const client of clients) if (!isOver(client)) this.#comeBack(client);
      await settle();
      for (const id of model.inFlight) model.complete(id);
      await model.pass(300);
      if (clients.every(isOver) && model.inFlight.size === 0) break;
    }
    for (const client of clients) this.#demand(isOver(client), `${client.id} has no end`);
    // Those whose Worker has left without a word are given up by now.
    await model.pass(30_000);
    const { waiting, openWaits, places, inFlight } = model.queue.state();
    const left = [...Object.values(waiting), openWaits, places, inFlight, model.queue.heldBytes];
    this.#demand(
      left.every((count) => count === 0),
      `left over: ${left.join(", ")}`,
    );
  }

  #arrive({ flow, priority, ttlMs }: Extract<Operation, { kind: "arrive" }>): void {
    const client: Client = {
      id: `r${this.clients.length}`,
      flow: FLOWS[flow]!,
      priority,
      receivedAtMs: this.model.nowMs,
      ttlMs,
      wait: undefined,
      holder: 0,
      isListening: false,
      ends: [],
      hasLeft: false,
    };
    this.clients.push(client);
    this.#ask(client);
  }

  #act(
    kind: Exclude<Operation["kind"], "arrive" | "pass" | "endpoint" | "restart" | "reconfigure">,
    who: number,
  ): void {
    const client = this.clients.at(-1 - (who % Math.max(1, this.clients.length)));
    if (client === undefined) return;
    const { model } = this;
    if (kind === "complete") return model.complete(client.id);
    if (kind === "start") return model.queue.started(client.id, 0);
    if (isOver(client)) return;
    if (kind === "listen") return this.#listen(client);
    if (kind === "ask") return this.#ask(client);
    if (kind === "leave") model.queue.leave(client.id, 0);
    else if (client.wait === undefined) return;
    else this.#drop(client);
    client.hasLeft = true;
  }

  /** As PickAnswers does it. */
  #drop({ wait, holder }: Client): void {
    this.model.queue.dropped(wait!, holder);
    const answer = wait!.holder === holder ? wait!.take() : undefined;
    if (answer?.ok === true) this.model.complete(answer.ticket);
  }

  #comeBack(client: Client): void {
    if (client.wait === undefined) this.#ask(client);
    else this.#listen(client);
  }

  #ask(client: Client): void {
    const { id, flow, priority, receivedAtMs, ttlMs } = client;
    // A grant that is there is found again by its request; here as if it were the first.
    const untaken = client.wait?.take();
    if (untaken !== undefined) return this.#heard(client, untaken);
    const request = pickOf(id, this.model.nowMs, {
      fairnessId: flow,
      priority,
      receivedAtMs,
      ttlMs,
    });
    const { answer, holder } = this.model.pick(request);
    if (!(answer instanceof WaitingPick)) return this.#heard(client, answer);
    Object.assign(client, { wait: answer, holder, isListening: false });
  }

  #listen(client: Client): void {
    const { wait, holder } = client;
    if (wait === undefined || client.isListening) return;
    client.isListening = true;
    if (wait.holder !== holder && wait.untaken === undefined) {
      client.wait = undefined;
      return;
    }
    void wait.wait().then((answer) => {
      if (client.wait === wait && client.holder === holder) this.#heard(client, answer);
    });
  }

  #heard(client: Client, answer: WaitAnswer): void {
    client.wait = undefined;
    if (client.hasLeft) {
      if (answer.ok === true) this.model.complete(answer.ticket);
      return;
    }
    if (answer.ok === "queued") return;
    client.ends.push(answer.ok ? "granted" : answer.reason);
  }

  /** Waits are lost, and grants that nobody had heard of. */
  #restart(): void {
    for (const { wait } of this.clients) {
      const answer = wait?.untaken;
      if (answer?.ok === true) this.model.inFlight.delete(answer.ticket);
    }
    this.model.restart();
    for (const client of this.clients) client.wait = undefined;
  }
}

function isOver({ ends, hasLeft }: Client): boolean {
  return hasLeft || ends.length > 0;
}

it("keeps its promises, whatever happens in whatever order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
      const run = new Run();
      for (const each of operations) await run.do(each);
      await run.calm();
      expect(run.complaints).toEqual([]);
    }),
    { numRuns: 150 },
  );
}, 60_000);
