import { describe, expect, it } from "vitest";
import { DROP_REASONS } from "../../../src/scheduler/outcome.ts";
import { dropError, errorEvent, errorResponse } from "../../../src/worker/openai/errors.ts";

const EXPECTED = {
  "rejected-saturated": { status: 429, code: "pool_saturated", type: "rate_limit_error" },
  "rejected-ttl-expired": { status: 429, code: "queue_timeout", type: "rate_limit_error" },
  "rejected-no-endpoints": { status: 503, code: "no_endpoints", type: "server_error" },
  "rejected-shutting-down": { status: 503, code: "shutting_down", type: "server_error" },
  "rejected-context-cancelled": {
    status: 499,
    code: "client_closed_request",
    type: "server_error",
  },
  "evicted-queue-pressure": { status: 429, code: "pool_saturated", type: "rate_limit_error" },
  evicted: { status: 429, code: "pool_saturated", type: "rate_limit_error" },
} as const;

describe("drop reasons", () => {
  it.for(DROP_REASONS.map((reason) => ({ reason })))("$reason", async ({ reason }) => {
    const response = errorResponse(dropError(reason, 2_000));
    const { status, ...error } = EXPECTED[reason];
    expect(response.status).toBe(status);
    expect(response.headers.get("x-llm-d-request-dropped-reason")).toBe(reason);
    expect(await response.json()).toMatchObject({ error: { ...error, param: null } });
    expect(response.headers.get("retry-after")).toBe("2");
  });

  it.for([
    { reason: "rejected-shutting-down", retryAfter: "1" },
    { reason: "rejected-no-endpoints", retryAfter: "5" },
    { reason: "evicted", retryAfter: "1" },
    { reason: "rejected-context-cancelled", retryAfter: null },
  ] as const)("$reason without a time has the table's: $retryAfter", ({ reason, retryAfter }) => {
    const response = errorResponse(dropError(reason, 0));
    expect(response.headers.get("retry-after")).toBe(retryAfter);
  });

  it("asks for no retry of what fits no queue", async () => {
    const response = errorResponse(dropError("rejected-saturated", 0));
    expect(response.headers.has("retry-after")).toBe(false);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.text()).toContain("of no use");
    const full = errorResponse(dropError("rejected-saturated", 1));
    expect([full.headers.get("retry-after"), full.headers.has("x-should-retry")]).toEqual([
      "1",
      false,
    ]);
  });

  it("says how long the pool wants to be left alone, in whole seconds", () => {
    const response = errorResponse(dropError("rejected-saturated", 1_200));
    expect(response.headers.get("retry-after")).toBe("2");
  });
});

it("an error event ends an event that was cut, and is one itself", () => {
  const event = errorEvent({ code: "upstream_lost", message: "Lost.", param: null }, "fl-1");
  expect(event).toMatch(/^\n\ndata: \{.*\}\n\n$/);
  const { error } = JSON.parse(event.trim().slice("data: ".length)) as { error: unknown };
  expect(error).toEqual({
    message: "Lost.",
    type: "server_error",
    param: null,
    code: "upstream_lost",
    request_id: "fl-1",
  });
});
