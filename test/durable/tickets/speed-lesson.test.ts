import { describe, expect, it } from "vitest";
import { speedLesson } from "../../../src/durable/tickets/speed-lesson.ts";
import type { TicketEnd, TicketState } from "../../../src/durable/tickets/ticket.ts";

const TICKET = {
  slot: 2,
  reservedTokens: 5_512,
  outputTokens: 512,
  dispatched: { aheadTokens: 3_000, isHeld: true },
} as TicketState;
const END: TicketEnd = {
  slot: 2,
  isPromptCached: true,
  ttftMs: 700,
  durationMs: 2_700,
  promptTokens: 8_000,
  cachedTokens: 6_000,
  completionTokens: 40,
};

describe("what a ticket's end teaches", () => {
  it("counts the work ahead and the engine's own count of uncached tokens", () => {
    expect(speedLesson(TICKET, END)).toEqual({
      ttftMs: 700,
      decodeMs: 2_000,
      workTokens: 5_000,
      isHeld: true,
    });
  });

  it.for([{ cachedTokens: null }, { promptTokens: null }])(
    "takes the router's estimate where the engine does not tell: %o",
    (silent) => {
      expect(speedLesson(TICKET, { ...END, ...silent })?.workTokens).toBe(8_000);
    },
  );

  it("knows no decode time without a first token", () => {
    expect(speedLesson(TICKET, { ...END, ttftMs: null })?.decodeMs).toBeNull();
    const { durationMs: _, ...untold } = END;
    expect(speedLesson(TICKET, untold)?.decodeMs).toBeNull();
  });

  it.for([
    ["another endpoint answered", TICKET, { ...END, slot: 3 }],
    ["nobody answered", TICKET, { ...END, isPromptCached: false }],
    ["it was never sent", { ...TICKET, dispatched: undefined }, END],
  ] as const)("is nothing if %s", ([, ticket, end]) => {
    expect(speedLesson(ticket, end)).toBeUndefined();
  });
});
