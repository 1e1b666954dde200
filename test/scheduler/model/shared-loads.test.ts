import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

const NOW = 1_700_000_000_000;
const PROMPT = { promptTokens: 100, uncachedTokens: 60 };

function createTable() {
  const table = new EndpointTable();
  const add = (name: string) =>
    table.add({ id: name, address: `${name}:8000`, engine: "vllm", labels: {} })!;
  return { table, columns: table.columns, slot: add("a"), other: add("b"), add };
}

describe("loads of a pool's other objects", () => {
  it("stand in the columns beside the object's own, and in the place of those told before", () => {
    const { table, columns, slot, other } = createTable();
    table.applySample(slot, { waiting: 2, running: 1 }, NOW);
    table.dispatched(slot, 50, NOW + 200, PROMPT);
    table.setOthersLoad(slot, { requests: 3, tokens: 700, unseen: 2 }, NOW + 200);
    expect(columns.inFlightRequests[slot]).toBe(4);
    expect(columns.inFlightTokens[slot]).toBe(750);
    expect(columns.queueDepth[slot]).toBe(2 + 1 + 2);
    expect(columns.inFlightRequests[other]).toBe(0);
    table.setOthersLoad(slot, { requests: 1, tokens: 100, unseen: 0 }, NOW + 300);
    table.released(slot, 50, NOW + 200);
    expect(columns.inFlightRequests[slot]).toBe(1);
    expect(columns.inFlightTokens[slot]).toBe(100);
    table.setOthersLoad(slot, undefined, NOW + 400);
    expect(columns.inFlightRequests[slot]).toBe(0);
    expect(columns.inFlightTokens[slot]).toBe(0);
    expect(columns.queueDepth[slot]).toBe(2);
  });

  it("leave the queue when a sample has shown them, and not before", () => {
    const { table, columns, slot } = createTable();
    table.setOthersLoad(slot, { requests: 3, tokens: 1, unseen: 3 }, NOW);
    table.applySample(slot, { waiting: 0 }, NOW + 99);
    expect(columns.queueDepth[slot]).toBe(3);
    table.applySample(slot, { waiting: 1 }, NOW + 100);
    expect(columns.queueDepth[slot]).toBe(1);
    expect(columns.inFlightRequests[slot]).toBe(3);
  });

  it("leave the queue at once where a sample has shown them while they were told", () => {
    const { table, columns, slot } = createTable();
    table.applySample(slot, { waiting: 0 }, NOW);
    const told = { requests: 3, tokens: 1, unseen: 3 };
    table.setOthersLoad(slot, { ...told, ageMs: 100 }, NOW);
    expect(columns.queueDepth[slot]).toBe(0);
    table.setOthersLoad(slot, { ...told, ageMs: 99 }, NOW);
    expect(columns.queueDepth[slot]).toBe(3);
    // Sent just after what the sample shows: the next one has them.
    table.applySample(slot, { waiting: 0 }, NOW + 1);
    expect(columns.queueDepth[slot]).toBe(0);
  });

  it("are taken to be like the object's own where nothing is known of them", () => {
    const { table, columns, slot } = createTable();
    table.dispatched(slot, 50, NOW, PROMPT);
    table.assumeAlike(4);
    expect(columns.inFlightRequests[slot]).toBe(4);
    expect(columns.queueDepth[slot]).toBe(4);
    table.dispatched(slot, 10, NOW, PROMPT);
    expect(columns.inFlightTokens[slot]).toBe(240);
    table.released(slot, 50, NOW);
    expect(columns.inFlightTokens[slot]).toBe(40);
    table.assumeAlike(1);
    expect(columns.inFlightRequests[slot]).toBe(1);
    expect(columns.inFlightTokens[slot]).toBe(10);
    expect(columns.queueDepth[slot]).toBe(1);
  });

  it("keep an engine busy with prefill, and no longer than it is", () => {
    const { table, columns, slot } = createTable();
    const msPerToken = columns.prefillMsPerToken[slot]!;
    const busyMs = () => columns.prefillBusyUntilMs[slot]! - NOW;
    // It has had half a second for what others tell of.
    table.workedElsewhere(slot, 600 / msPerToken, NOW);
    expect(busyMs()).toBeCloseTo(100);
    table.dispatched(slot, 50, NOW, PROMPT);
    const own = 60 * msPerToken;
    expect(table.ownLoad(slot).prefillTokens).toBe(60);
    expect(busyMs()).toBeCloseTo(100 + own);
    table.workedElsewhere(slot, -40 / msPerToken, NOW);
    expect(busyMs()).toBeCloseTo(60 + own);
    // Nothing was idle since: all of it is ahead.
    table.workedElsewhere(slot, 100 / msPerToken, NOW + 10);
    expect(busyMs()).toBeCloseTo(160 + own);
    // And now for 200 ms less what was ahead.
    const idleMs = 200 - (160 + own);
    table.workedElsewhere(slot, 100 / msPerToken, NOW + 200);
    expect(busyMs()).toBeCloseTo(200 + 100 - idleMs);
  });

  it("begin anew with another endpoint in the slot, which others can tell", () => {
    const { table, columns, slot, add } = createTable();
    table.dispatched(slot, 50, NOW, PROMPT);
    table.setOthersLoad(slot, { requests: 3, tokens: 700, unseen: 2 }, NOW);
    const { life } = table.ownLoad(slot);
    table.remove(slot);
    expect(add("c")).toBe(slot);
    expect(columns.inFlightRequests[slot]).toBe(0);
    expect(columns.queueDepth[slot]).toBe(0);
    const own = table.ownLoad(slot);
    expect(own).toMatchObject({ requests: 0, tokens: 0, prefillTokens: 0 });
    expect(own.life).not.toBe(life);
    table.setOthersLoad(slot, undefined, NOW);
    expect(columns.inFlightRequests[slot]).toBe(0);
  });

  it("add up, whatever happens in whatever order", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constantFrom("send" as const, "end" as const), tokens: fc.nat(99) }),
      fc.record({ do: fc.constant("told" as const), requests: fc.nat(9), tokens: fc.nat(999) }),
      fc.record({ do: fc.constant("alike" as const), objects: fc.integer({ min: 1, max: 16 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { table, columns, slot } = createTable();
        const open: number[] = [];
        let [factor, requests, tokens] = [1, 0, 0];
        for (const each of steps) {
          if (each.do === "send") {
            open.push(each.tokens);
            table.dispatched(slot, each.tokens, NOW);
          } else if (each.do === "end") {
            const ended = open.pop();
            if (ended !== undefined) table.released(slot, ended, NOW);
          } else if (each.do === "alike") {
            factor = each.objects;
            table.assumeAlike(factor);
          } else if (each.do === "told") {
            ({ requests, tokens } = each);
            table.setOthersLoad(slot, { requests, tokens, unseen: 0 }, NOW);
          }
          const own = open.reduce((sum, each_) => sum + each_, 0);
          expect(columns.inFlightRequests[slot]).toBe(open.length * factor + requests);
          expect(columns.inFlightTokens[slot]).toBeCloseTo(own * factor + tokens, 6);
          expect(table.ownLoad(slot).requests).toBe(open.length);
        }
      }),
    );
  });
});
