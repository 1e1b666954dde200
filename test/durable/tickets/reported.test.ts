import { expect, it } from "vitest";
import type { TicketClosed } from "../../../src/agents/protocol/messages.ts";
import { endOf } from "../../../src/durable/tickets/reported.ts";

const CLOSED: TicketClosed = {
  kind: "closed",
  ticket: "t",
  attempt: 0,
  endpoint: "10.0.0.7:8000",
  outcome: "ok",
  status: 200,
  ttftMs: 521,
  durationMs: 4_210,
  promptTokens: 8_192,
  cachedTokens: 1_024,
  completionTokens: 96,
  finishReason: "stop",
  failed: [],
};
const STAGES: TicketClosed["stages"] = {
  connector: "nixlv2",
  prefill: "10.0.0.9:8000",
  outcome: "ok",
  prefillMs: 412,
  failed: [],
  isDecodeOnly: true,
  isStranded: true,
};

it("tells what else than the endpoint took time, and who computed the prompt", () => {
  expect(endOf(CLOSED, 3)).toMatchObject({ slot: 3, failedCount: 0, isDecodeOnly: false });
  expect(endOf({ ...CLOSED, stages: STAGES, failed: ["10.0.0.8:8000"] }, 3)).toMatchObject({
    failedCount: 1,
    isDecodeOnly: true,
  });
});

it.for([
  [{ status: 200, ttftMs: 1 }, true],
  [{ status: 500, ttftMs: 1 }, false],
  [{ status: 200, ttftMs: null }, false],
  [{ status: null, ttftMs: null }, false],
] as const)("takes the prompt for cached where a success has begun: %o", ([report, want]) => {
  expect(endOf({ ...CLOSED, ...report }, 3).isPromptCached).toBe(want);
});
