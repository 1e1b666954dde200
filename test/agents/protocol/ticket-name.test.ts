import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import {
  encodeTicketName,
  NAMED_PRIORITY_MAX,
  NAMED_TOKENS_MAX,
  parseTicketName,
} from "../../../src/agents/protocol/ticket-name.ts";

const FACTS = { promptTokens: 1_280, outputTokens: 512, reservedTokens: 768, priority: -1 };

describe("a ticket's name", () => {
  it("is short and holds what only the object knows", () => {
    expect(encodeTicketName("a81b22", 173, FACTS)).toBe("a81b22-4t.zk.e8.lc.-1");
    expect(parseTicketName("a81b22-4t.zk.e8.lc.-1")).toEqual({ epoch: "a81b22", ...FACTS });
  });

  it("gives back every fact, and fits the protocol whatever they are", () => {
    const tokens = fc.integer({ min: 0, max: NAMED_TOKENS_MAX });
    const facts = fc.record({
      promptTokens: tokens,
      outputTokens: tokens,
      reservedTokens: tokens,
      priority: fc.integer({ min: -NAMED_PRIORITY_MAX, max: NAMED_PRIORITY_MAX }),
    });
    fc.assert(
      fc.property(facts, fc.maxSafeNat(), (told, number) => {
        const name = encodeTicketName("0123456789abcdef", number, told);
        expect(parseTicketName(name)).toEqual({ epoch: "0123456789abcdef", ...told });
        expect(name.length).toBeLessThanOrEqual(PROTOCOL_LIMITS.ticketCharsMax);
      }),
    );
  });

  it("cuts what does not fit", () => {
    const facts = { promptTokens: 1e12, outputTokens: -5, reservedTokens: 1.4, priority: -1e12 };
    expect(parseTicketName(encodeTicketName("e", 1, facts))).toEqual({
      epoch: "e",
      promptTokens: NAMED_TOKENS_MAX,
      outputTokens: 0,
      reservedTokens: 1,
      priority: -NAMED_PRIORITY_MAX,
    });
  });

  it("of the release before holds nothing else", () => {
    const nothing = { promptTokens: 0, outputTokens: 0, reservedTokens: 0, priority: 0 };
    expect(parseTicketName("d2d8316e6da4903f-1")).toEqual({
      epoch: "d2d8316e6da4903f",
      ...nothing,
    });
  });

  it.for(["", "e", "e-", "-1", "e-1.2", "e-1.2.3.4", "e-1.2.3.4.5.6", "e-1.2.3.4.x!", "e-1\n"])(
    "%j is none",
    (name) => {
      expect(parseTicketName(name)).toBeUndefined();
    },
  );
});
