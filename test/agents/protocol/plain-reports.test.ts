import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { CLOSED_OUTCOMES, numberedReportsSchema } from "../../../src/agents/protocol/messages.ts";
import { arePlainReports } from "../../../src/agents/protocol/plain-reports.ts";

const hostPort = fc.constantFrom("10.0.0.1:8000", "[fd00::1]:65535", "engine-0.llm.svc:1");
const count = fc.nat();
const subject = {
  requestId: fc.string({ maxLength: PROTOCOL_LIMITS.requestIdCharsMax }),
  tenant: fc.string({ maxLength: PROTOCOL_LIMITS.labelCharsMax }),
  model: fc.string({ maxLength: PROTOCOL_LIMITS.labelCharsMax }),
};
const named = {
  ticket: fc.string({ minLength: 1, maxLength: PROTOCOL_LIMITS.ticketCharsMax }),
  attempt: count,
  endpoint: hostPort,
  ...subject,
};
const requiredKeys = ["kind", "ticket", "attempt", "endpoint"] as const;
const opened = fc.record(
  { kind: fc.constant("opened"), ...named },
  { requiredKeys: [...requiredKeys] },
);
const end = {
  outcome: fc.constantFrom(...CLOSED_OUTCOMES),
  status: fc.option(fc.integer()),
  ttftMs: fc.option(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true })),
  durationMs: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
  promptTokens: fc.option(count),
  cachedTokens: fc.option(count),
  completionTokens: fc.option(count),
  finishReason: fc.option(fc.string({ maxLength: 64 })),
  failed: fc.array(hostPort, { maxLength: PROTOCOL_LIMITS.destinationsMax }),
};
const closed = fc.record(
  { kind: fc.constant("closed"), ...named, ...end },
  { requiredKeys: [...requiredKeys, ...(Object.keys(end) as (keyof typeof end)[])] },
);
const payload = fc
  .record({
    oldest: fc.integer({ min: 1, max: 9 }),
    ahead: count,
    reports: fc.array(fc.oneof(opened, closed), { maxLength: 4 }),
  })
  .map(({ oldest, ahead, reports }) => ({ oldest, first: oldest + ahead, reports }));

/** In place of a member, or besides those there are. */
const odd = fc.oneof(
  fc.constantFrom(-1, 0, 1.5, 1e300, 2 ** 53, Infinity, "", null, [], {}, ["h:1"], ["x"], true),
  fc.constantFrom("opened", "closed", "prefilled", "ok", "h:1", "h:1\n", "a,b:1"),
  fc.constantFrom(64, 65, 128, 129, 256, 257).map((length) => "x".repeat(length)),
);
const member = fc.oneof(
  fc.constantFrom("kind", "ticket", "oldest", "first", "reports", "stages", "surprise"),
  fc.constantFrom(...Object.keys({ ...named, ...end })),
);
const fault = fc.record({
  isOfReport: fc.boolean(),
  member,
  value: fc.option(odd, { nil: undefined }),
});

const read = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe("the check of plain reports", () => {
  it("takes each payload without prefills that the schema takes", () => {
    fc.assert(
      fc.property(payload, (sound) => {
        expect(arePlainReports(read(sound))).toBe(true);
      }),
    );
  });

  it("takes nothing that the schema refuses, or makes anything else of", () => {
    fc.assert(
      fc.property(payload, fault, (sound, { isOfReport, member: name, value }) => {
        const sent = read(sound) as { reports: Record<string, unknown>[] } & Record<
          string,
          unknown
        >;
        const at = isOfReport ? sent.reports[0] : sent;
        fc.pre(at !== undefined);
        at[name] = value;
        const json = read(sent);
        const parsed = numberedReportsSchema.safeParse(json);
        // Nor does it leave to the schema what is plain.
        const isExpected = parsed.success && !JSON.stringify(json).includes("stages");
        expect(arePlainReports(json)).toBe(isExpected);
        expect(isDeepStrictEqual(parsed.data, json)).toBe(parsed.success);
      }),
      { numRuns: 3_000 },
    );
  });

  it.for([null, 7, "reports", [], [1], { reports: [] }, undefined])(
    "takes nothing that is no payload: %j",
    (value) => {
      expect(arePlainReports(value)).toBe(false);
    },
  );

  it("leaves more than a frame holds to the schema", () => {
    const report = { kind: "opened", ticket: "t", attempt: 0, endpoint: "h:1" };
    const of = (length: number) => ({ oldest: 1, first: 1, reports: Array(length).fill(report) });
    expect(arePlainReports(of(PROTOCOL_LIMITS.ticketReportsMax))).toBe(true);
    expect(arePlainReports(of(PROTOCOL_LIMITS.ticketReportsMax + 1))).toBe(false);
  });
});
