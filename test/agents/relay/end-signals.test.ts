import { expect, it } from "vitest";
import { EndSignals } from "../../../src/agents/relay/end-signals.ts";

it("ends what is open, and whatever comes after", () => {
  const signals = new EndSignals();
  const open = signals.open();
  const closed = signals.open();
  signals.close(closed);
  expect(open.signal.aborted).toBe(false);
  signals.endAll();
  expect(open.signal.aborted).toBe(true);
  expect(closed.signal.aborted).toBe(false);
  expect(signals.open().signal.aborted).toBe(true);
});
