// A prefill that runs apart: what it loads, and that every way a ticket can end gives it back.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PREFILL_OUTCOMES } from "../../../src/agents/protocol/stage-reports.ts";
import { EDGE_EPOCH_PREFIX, encodeTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import { TICKET_LIMITS, type TicketLimits } from "../../../src/durable/tickets/ledger-options.ts";
import { TicketLedger } from "../../../src/durable/tickets/ledger.ts";
import type { PrefillEnd } from "../../../src/durable/tickets/prefills.ts";
import { NO_SLOT, type TicketEnd } from "../../../src/durable/tickets/ticket.ts";
import { OVERHEAD_MS, TRANSFER_OVERHEAD_MS } from "../../../src/scheduler/model/engine-speeds.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

/** Slots 0 and 1 decode, 2 and 3 prefill. */
const [DECODE, OTHER_DECODE, PREFILL, OTHER_PREFILL] = [0, 1, 2, 3] as const;
const SLOTS = [0, 1, 2, 3];
const PROMPT = 10_000;
const OUTPUT = 500;
/** Not cached where it is decoded, and where it is prefilled. */
const AT_DECODE = 8_000;
const AT_PREFILL = 6_000;
const MS_PER_TOKEN = 0.1;
const KEYS = new Uint32Array([1, 0, 2, 0]);
const HOLDER = 7;

const OK: PrefillEnd = {
  slot: PREFILL,
  outcome: "ok",
  durationMs: 700,
  promptTokens: PROMPT,
  cachedTokens: PROMPT - AT_PREFILL,
};
const CLOSED = {
  slot: DECODE,
  isPromptCached: true,
  ttftMs: 1_000,
  durationMs: 3_000,
  promptTokens: PROMPT,
  cachedTokens: 0,
  completionTokens: 100,
};

/** A table that is given back only what it was given: the real one cuts off at nothing. */
class StrictTable extends EndpointTable {
  readonly #carried = new Map<number, number[]>();

  override dispatched(...sent: Parameters<EndpointTable["dispatched"]>) {
    this.#carries(sent[0], sent[1]);
    return super.dispatched(...sent);
  }

  override dispatchedBefore(...sent: Parameters<EndpointTable["dispatchedBefore"]>) {
    this.#carries(sent[0], sent[1]);
    return super.dispatchedBefore(...sent);
  }

  override released(...given: Parameters<EndpointTable["released"]>): void {
    const [slot, tokens] = given;
    const carried = this.#carried.get(slot) ?? [];
    const at = carried.indexOf(tokens);
    if (at === -1) throw new Error(`slot ${slot} does not carry ${tokens} tokens`);
    carried.splice(at, 1);
    super.released(...given);
  }

  override remove(slot: number): void {
    this.#carried.delete(slot);
    super.remove(slot);
  }

  #carries(slot: number, tokens: number): void {
    this.#carried.set(slot, [...(this.#carried.get(slot) ?? []), tokens]);
  }
}

/** A ledger over a table, and a map in the place of the prefix tree. */
class World {
  readonly table = new StrictTable();
  readonly held = SLOTS.map(() => new Set<number>());
  readonly ledger: TicketLedger;
  nowMs = 1_000_000;
  #created = 0;

  constructor(limits: Partial<TicketLimits> = {}) {
    for (const slot of SLOTS) this.addEndpoint(slot);
    this.ledger = new TicketLedger({
      epoch: "life1",
      clock: () => this.nowMs,
      load: this.table,
      limits: { ...TICKET_LIMITS, ...limits },
      learner: {
        learn: (keys, slot) => {
          const known = [1, 2].filter((block) => this.held[slot]!.has(block)).length;
          for (let i = 0; i < keys.length; i += 2) this.held[slot]!.add(keys[i]!);
          return known;
        },
        forget: (keys, first, slot) => {
          for (let i = 2 * first; i < keys.length; i += 2) this.held[slot]!.delete(keys[i]!);
        },
      },
    });
  }

  addEndpoint(slot: number): void {
    this.table.add({
      id: `e${slot}`,
      address: `10.0.0.${slot}:1`,
      engine: "vllm",
      labels: {},
    });
  }

  removeEndpoint(slot: number): void {
    this.ledger.endpointRemoved(slot);
    this.table.remove(slot);
    this.addEndpoint(slot);
  }

  open(options: { tries?: number; prefillSlot?: number; keys?: Uint32Array } = {}): string {
    const { tries = 1, prefillSlot = PREFILL, keys = KEYS } = options;
    const prefill = { slot: prefillSlot, tries, uncachedTokens: AT_PREFILL };
    return this.ledger.open({ ...this.#request(), keys, prefill, holder: HOLDER }).id;
  }

  /** One that an isolate has decided on and sent. */
  commit(): string {
    const request = this.#request();
    const id = encodeTicketName(`${EDGE_EPOCH_PREFIX}1`, this.#created, request);
    const prefill = { slot: PREFILL, tries: 1, uncachedTokens: AT_PREFILL };
    const committed = { ...request, id, keys: KEYS, prefill, decidedAgoMs: 0 };
    this.ledger.local.commit(committed);
    return id;
  }

  #request() {
    return {
      requestId: `r${++this.#created}`,
      attempt: 0,
      tenant: "acme",
      model: "m",
      priority: 0,
      promptTokens: PROMPT,
      outputTokens: OUTPUT,
      reservedTokens: AT_DECODE + OUTPUT,
      slot: DECODE,
      endpoints: ["10.0.0.0:1"],
    };
  }

  load(slot: number): [requests: number, tokens: number] {
    const { inFlightRequests, inFlightTokens } = this.table.columns;
    return [inFlightRequests[slot]!, inFlightTokens[slot]!];
  }

  /** Prompts to be computed there, in ms. */
  busyMs(slot: number): number {
    return Math.max(0, this.table.columns.prefillBusyUntilMs[slot]! - this.nowMs);
  }
}

describe("load", () => {
  it("is the prompt's where it is prefilled, and memory without work where it is decoded", () => {
    const w = new World();
    w.open();
    expect(w.load(PREFILL)).toEqual([1, AT_PREFILL]);
    expect(w.busyMs(PREFILL)).toBeCloseTo(AT_PREFILL * MS_PER_TOKEN);
    expect(w.load(DECODE)).toEqual([1, AT_DECODE + OUTPUT]);
    expect(w.busyMs(DECODE)).toBe(0);
  });

  it("leaves the prefill endpoint when it has done with it, and the other at the end", () => {
    const w = new World();
    const id = w.open();
    w.ledger.opened(id, 0, DECODE);
    w.ledger.prefilled(id, 0, OK);
    expect(w.load(PREFILL)).toEqual([0, 0]);
    expect(w.load(DECODE)).toEqual([1, AT_DECODE + OUTPUT]);
    w.ledger.prefilled(id, 0, OK);
    w.ledger.closed(id, 0, CLOSED);
    for (const slot of SLOTS) expect(w.load(slot)).toEqual([0, 0]);
  });

  it.for([
    [
      "a report without one of the prefill",
      (w: World, id: string) => w.ledger.closed(id, 0, CLOSED),
    ],
    ["the Worker's word", (w: World, id: string) => w.ledger.release(id, "cancelled", HOLDER)],
    ["the Worker's end", (w: World, id: string) => w.ledger.abandon(id, HOLDER)],
    [
      "the lease's end",
      (w: World) => {
        w.nowMs += TICKET_LIMITS.beforeRelayMs;
        w.ledger.sweep();
      },
    ],
  ] as const)("is given back by %s", ([, end]) => {
    const w = new World();
    const id = w.open();
    end(w, id);
    for (const slot of SLOTS) expect(w.load(slot)).toEqual([0, 0]);
  });

  it("is given back by its relay's restart", () => {
    const w = new World();
    const id = w.open();
    const relay = { agent: "relay-0", epoch: "e1" };
    w.ledger.opened(id, 0, DECODE, { relay, requestId: "r1", tenant: "acme", model: "m" });
    w.ledger.relayStarted({ agent: "relay-0", epoch: "e2" });
    for (const slot of SLOTS) expect(w.load(slot)).toEqual([0, 0]);
  });

  it("takes work back that nobody began: of a ticket that was never sent, and of a refusal", () => {
    const w = new World();
    w.ledger.abandon(w.open(), HOLDER);
    expect(w.busyMs(PREFILL)).toBe(0);
    const id = w.open({ tries: 2 });
    w.ledger.prefilled(id, 0, { ...OK, outcome: "unreachable" });
    expect(w.busyMs(PREFILL)).toBe(0);
    const slow = w.open({ tries: 2 });
    w.ledger.prefilled(slow, 0, { ...OK, outcome: "timeout" });
    expect(w.busyMs(PREFILL)).toBeGreaterThan(0);
  });

  it.for(["unsupported", "busy", "spared"] as const)(
    "takes work back of what was never sent, as of %s",
    (outcome) => {
      const w = new World();
      w.ledger.prefilled(w.open(), 0, { ...OK, outcome });
      expect(w.busyMs(PREFILL)).toBe(0);
    },
  );

  it("leaves with the endpoint, and is not taken from the next one in its slot", () => {
    const w = new World();
    const id = w.open();
    w.ledger.opened(id, 0, DECODE);
    w.removeEndpoint(PREFILL);
    w.table.dispatched(PREFILL, 9, w.nowMs);
    w.ledger.prefilled(id, 0, OK);
    w.ledger.closed(id, 0, CLOSED);
    expect(w.load(PREFILL)).toEqual([1, 9]);
    expect(w.load(DECODE)).toEqual([0, 0]);
  });
});

describe("a prefill that fails", () => {
  it("is not the decode endpoint's while another one may be asked", () => {
    const w = new World();
    const id = w.open({ tries: 2 });
    w.ledger.opened(id, 0, DECODE);
    w.ledger.prefilled(id, 0, { ...OK, outcome: "timeout" });
    expect(w.load(PREFILL)).toEqual([0, 0]);
    expect(w.busyMs(DECODE)).toBe(0);
    w.ledger.prefilled(id, 0, { ...OK, slot: OTHER_PREFILL, outcome: "timeout" });
    expect(w.busyMs(DECODE)).toBeCloseTo(AT_DECODE * MS_PER_TOKEN);
    expect(w.load(DECODE)).toEqual([1, AT_DECODE + OUTPUT]);
  });

  it.for([
    ["engine-error", true],
    ["no-parameters", true],
    ["overloaded", true],
    ["off-list", true],
    ["ok", false],
    ["refused", false],
    ["cancelled", false],
    // The decode endpoint has computed what it needed, and answered.
    ["spared", false],
  ] as const)(
    "at the last one, by %s, makes the decode endpoint compute: %s",
    ([outcome, want]) => {
      const w = new World();
      const id = w.open();
      w.ledger.opened(id, 0, DECODE);
      w.ledger.prefilled(id, 0, { ...OK, outcome });
      expect(w.busyMs(DECODE) > 0).toBe(want);
    },
  );

  it.for(["no-parameters", "engine-error", "busy"] as const)(
    "by %s makes it compute at once: nobody else is asked",
    (outcome) => {
      const w = new World();
      const id = w.open({ tries: 2 });
      w.ledger.prefilled(id, 0, { ...OK, outcome });
      expect(w.busyMs(DECODE)).toBeGreaterThan(0);
    },
  );

  it.for([
    ["timeout", true],
    ["unreachable", true],
    ["unsupported", true],
    ["ok", false],
    ["refused", false],
    ["cancelled", false],
    ["spared", false],
  ] as const)(
    "by %s makes it compute at once where the relay asks nobody else: %s",
    ([outcome, want]) => {
      const w = new World();
      const id = w.open({ tries: 3 });
      w.ledger.prefilled(id, 0, { ...OK, outcome, isLast: false });
      expect(w.busyMs(DECODE)).toBe(0);
      w.ledger.prefilled(id, 0, { ...OK, slot: OTHER_PREFILL, outcome, isLast: true });
      expect(w.busyMs(DECODE) > 0).toBe(want);
    },
  );

  it("is not the decode endpoint's while the relay asks another one, however many were listed", () => {
    const w = new World();
    const id = w.open({ tries: 1 });
    w.ledger.prefilled(id, 0, { ...OK, outcome: "off-list", isLast: false });
    expect(w.busyMs(DECODE)).toBe(0);
  });

  it("makes it compute once, whatever is reported after", () => {
    const w = new World();
    const id = w.open();
    w.ledger.prefilled(id, 0, { ...OK, outcome: "timeout" });
    const busyMs = w.busyMs(DECODE);
    w.ledger.prefilled(id, 0, { ...OK, outcome: "timeout" });
    expect(w.busyMs(DECODE)).toBe(busyMs);
  });

  it("takes nobody else's work along when the request is decoded elsewhere", () => {
    const w = new World();
    const prompt = { promptTokens: PROMPT, uncachedTokens: PROMPT };
    w.table.dispatched(DECODE, PROMPT, w.nowMs, prompt);
    const id = w.open();
    w.ledger.opened(id, 0, OTHER_DECODE);
    expect(w.busyMs(DECODE)).toBeCloseTo(PROMPT * MS_PER_TOKEN);
    expect(w.busyMs(OTHER_DECODE)).toBe(0);
  });

  it("goes along when the request is decoded elsewhere", () => {
    const w = new World();
    const id = w.open();
    w.ledger.prefilled(id, 0, { ...OK, outcome: "timeout" });
    w.ledger.opened(id, 0, OTHER_DECODE);
    expect(w.busyMs(DECODE)).toBe(0);
    expect(w.busyMs(OTHER_DECODE)).toBeCloseTo(AT_DECODE * MS_PER_TOKEN);
  });
});

describe("what is learned", () => {
  const speeds = (w: World, slot: number) => ({
    prefill: w.table.columns.prefillMsPerToken[slot]!,
    transfer: w.table.columns.transferMsPerToken[slot]!,
    service: w.table.columns.serviceMs[slot]!,
  });

  /** A prefill and an answer at twice the time that is believed. */
  function served(
    w: World,
    end: Partial<PrefillEnd> = {},
    { ttftMs = 0, ...closed }: Partial<TicketEnd> = {},
  ): void {
    const id = w.open();
    w.ledger.opened(id, 0, DECODE);
    const durationMs = OVERHEAD_MS + 2 * AT_PREFILL * MS_PER_TOKEN;
    w.ledger.prefilled(id, 0, { ...OK, durationMs, ...end });
    const slowly = durationMs + TRANSFER_OVERHEAD_MS + 2 * 0.02 * AT_DECODE;
    w.ledger.closed(id, 0, { ...CLOSED, ...closed, ttftMs: ttftMs || slowly, durationMs: 30_000 });
  }

  it("of a prefill is the prefill endpoint's speed, and of its way the decode endpoint's", () => {
    const w = new World();
    served(w);
    expect(speeds(w, PREFILL).prefill).toBeGreaterThan(MS_PER_TOKEN);
    expect(speeds(w, DECODE).transfer).toBeGreaterThan(0.02);
    expect(speeds(w, DECODE).service).toBeGreaterThan(10_000);
  });

  it("is never a prefill speed of who only decoded", () => {
    const w = new World();
    for (let i = 0; i < 20; i++) served(w, {}, { ttftMs: 700 + OVERHEAD_MS });
    // Somebody of its own must have learned: else it has the pool's.
    const id = w.open();
    w.ledger.opened(id, 0, DECODE);
    const learned = speeds(w, DECODE).prefill;
    expect(learned).toBe(speeds(w, OTHER_DECODE).prefill);
  });

  it.for([
    ["a prefill failed before", { outcome: "timeout" as const }],
    ["another one than the first did it", { slot: OTHER_PREFILL }],
  ])("is no way where %s", ([, end]) => {
    const w = new World();
    served(w, end as Partial<PrefillEnd>);
    expect(speeds(w, DECODE).transfer).toBe(0.02);
    expect(speeds(w, PREFILL).prefill).toBe(MS_PER_TOKEN);
  });

  it.for([
    ["the decode endpoint computed the prompt after all", { isDecodeOnly: true }],
    ["another decode endpoint failed before", { failedCount: 1 }],
  ])("is no way where %s", ([, closed]) => {
    const w = new World();
    served(w, {}, closed as Partial<TicketEnd>);
    expect(speeds(w, DECODE).transfer).toBe(0.02);
    expect(speeds(w, PREFILL).prefill).toBeGreaterThan(MS_PER_TOKEN);
  });
});

describe("prefixes", () => {
  const holders = (w: World) => SLOTS.filter((slot) => w.held[slot]!.size === 2);

  it("are believed of both from the hand-over on, and confirmed of both", () => {
    const w = new World();
    const id = w.open();
    expect(holders(w)).toEqual([]);
    w.ledger.opened(id, 0, DECODE);
    expect(holders(w)).toEqual([DECODE, PREFILL]);
    w.ledger.prefilled(id, 0, OK);
    w.ledger.closed(id, 0, CLOSED);
    expect(holders(w)).toEqual([DECODE, PREFILL]);
  });

  it("are taken back of a prefill endpoint that failed, and are the other one's", () => {
    const w = new World();
    const id = w.open({ tries: 2 });
    w.ledger.opened(id, 0, DECODE);
    w.ledger.prefilled(id, 0, { ...OK, outcome: "broken" });
    expect(holders(w)).toEqual([DECODE]);
    w.ledger.prefilled(id, 0, { ...OK, slot: OTHER_PREFILL });
    expect(holders(w)).toEqual([DECODE, OTHER_PREFILL]);
  });

  it("stay with who prefilled when decode fails", () => {
    const w = new World();
    const id = w.open();
    w.ledger.opened(id, 0, DECODE);
    w.ledger.prefilled(id, 0, OK);
    w.ledger.closed(id, 0, { ...CLOSED, isPromptCached: false });
    expect(holders(w)).toEqual([PREFILL]);
  });

  it.for([
    {
      name: "its Worker has called off",
      end: (w: World, id: string) => w.ledger.endLocal(id, 0, "relay-unreachable"),
    },
    {
      name: "no relay was heard of",
      end: (w: World) => {
        w.nowMs += TICKET_LIMITS.beforeRelayMs;
        w.ledger.sweep();
      },
    },
  ])("of an isolate's request that $name are believed of neither any more", ({ end }) => {
    const w = new World();
    const id = w.commit();
    expect(holders(w)).toEqual([DECODE, PREFILL]);
    end(w, id);
    expect(w.held.map(({ size }) => size)).toEqual([0, 0, 0, 0]);
    // What others have vouched for stays, wherever it is.
    w.ledger.closed(w.commit(), 0, CLOSED);
    end(w, w.commit());
    expect(holders(w)).toEqual([DECODE, PREFILL]);
  });

  it("of a thinned request are both's once its Worker tells them", () => {
    const w = new World();
    const id = w.open({ keys: new Uint32Array(0) });
    w.ledger.opened(id, 0, DECODE);
    w.ledger.learn(id, KEYS, HOLDER);
    expect(holders(w)).toEqual([DECODE, PREFILL]);
  });
});

describe("any history", () => {
  const step = fc.record({
    act: fc.constantFrom(
      ...(["open", "open", "opened", "prefilled", "prefilled", "closed", "release"] as const),
      ...(["abandon", "sweep", "remove", "relay-restart"] as const),
    ),
    ticket: fc.nat(5),
    slot: fc.constantFrom(...SLOTS, NO_SLOT),
    outcome: fc.constantFrom(...PREFILL_OUTCOMES),
    tries: fc.integer({ min: 1, max: 2 }),
    ms: fc.constantFrom(1, 30_000, 60_000, 600_000),
  });

  it("leaks no load: at rest nobody carries anything", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const w = new World({ ticketsMax: 8 });
        const ids: string[] = [];
        const relay = { agent: "relay-0", epoch: "e1" };
        const subject = { relay, requestId: "r", tenant: "acme", model: "m" };
        for (const { act, ticket, slot, outcome, tries, ms } of steps) {
          const id = ids.at(-1 - ticket) ?? "unknown";
          const decodeSlot = slot > OTHER_DECODE ? DECODE : slot;
          if (act === "open" && w.ledger.makeRoom().hasRoom)
            ids.push(w.open({ tries, prefillSlot: slot === OTHER_PREFILL ? slot : PREFILL }));
          if (act === "opened") w.ledger.opened(id, 0, decodeSlot, subject);
          if (act === "prefilled") w.ledger.prefilled(id, 0, { ...OK, slot, outcome });
          if (act === "closed") w.ledger.closed(id, 0, { ...CLOSED, slot: decodeSlot }, subject);
          if (act === "release") w.ledger.release(id, "cancelled", HOLDER);
          if (act === "abandon") w.ledger.abandon(id, HOLDER);
          if (act === "remove" && slot !== NO_SLOT) w.removeEndpoint(slot);
          if (act === "relay-restart") w.ledger.relayStarted({ agent: "relay-0", epoch: "e2" });
          if (act === "sweep") w.nowMs += ms;
          if (act === "sweep") w.ledger.sweep();
          const requests = SLOTS.map((each) => w.load(each)[0]).reduce((a, b) => a + b, 0);
          // Each open ticket is charged at most twice, and nothing else is.
          expect(requests).toBeLessThanOrEqual(2 * w.ledger.openCount);
        }
        for (let i = 0; i < 3; i++) {
          w.nowMs += TICKET_LIMITS.withRelayMs;
          w.ledger.sweep();
        }
        expect(w.ledger.size).toBe(0);
        expect(SLOTS.map((slot) => w.load(slot))).toEqual(SLOTS.map(() => [0, 0]));
        expect(w.ledger.keyBytes).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
