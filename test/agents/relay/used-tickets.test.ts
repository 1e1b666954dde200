import { expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { RENDERED, UsedTickets } from "../../../src/agents/relay/used-tickets.ts";

const { signatureLifetimeMsMax, renderSignatureLifetimeMsMax, clockSkewMsMax } = PROTOCOL_LIMITS;
/** A signature may be believed so long, from the first time it is. */
const USED_TICKET_MS = signatureLifetimeMsMax + 2 * clockSkewMsMax;

it("lets each ticket and attempt be used once", () => {
  const used = new UsedTickets();
  expect(used.has("t", 0, 0)).toBe(false);
  expect(used.use("t", 0, 0)).toBe("used");
  expect(used.has("t", 0, 1)).toBe(true);
  expect(used.use("t", 0, 1)).toBe("replayed");
  expect(used.use("t", 1, 1)).toBe("used");
  expect(used.use("u", 0, 1)).toBe("used");
});

it("remembers a ticket until no signature for it can hold, and then forgets it", () => {
  const used = new UsedTickets();
  used.use("t", 0, 0);
  expect(used.use("t", 0, USED_TICKET_MS - 1)).toBe("replayed");
  expect(used.use("t", 0, USED_TICKET_MS)).toBe("used");
});

it("is full at its limit rather than forgetful, until entries expire", () => {
  const used = new UsedTickets();
  for (let i = 0; i < PROTOCOL_LIMITS.usedTicketsMax; i++) used.use(`t${i}`, 0, 0);
  expect(used.use("one more", 0, 1)).toBe("full");
  expect(used.use("t0", 0, 1)).toBe("replayed");
  expect(used.use("one more", 0, USED_TICKET_MS)).toBe("used");
});

it("remembers what was rendered for as long as that is signed", () => {
  const used = new UsedTickets(RENDERED);
  const keptMs = renderSignatureLifetimeMsMax + 2 * clockSkewMsMax;
  for (let i = 0; i < PROTOCOL_LIMITS.usedRendersMax; i++) used.use(`t${i}`, 0, 0);
  expect(used.use("one more", 0, keptMs - 1)).toBe("full");
  expect(used.use("t0", 0, keptMs - 1)).toBe("replayed");
  expect(used.use("t0", 0, keptMs)).toBe("used");
});
