import { expect, it } from "vitest";
import { RandomHex } from "../../../src/agents/relay/random-hex.ts";

it("gives no byte twice, over many draws", () => {
  const ids = new RandomHex();
  const taken = Array.from({ length: 5_000 }, (_, i) => ids.take(i % 2 === 0 ? 8 : 16));
  expect(new Set(taken.map((id) => id.slice(0, 16))).size).toBe(taken.length);
  for (const [i, id] of taken.entries()) {
    expect(id).toMatch(i % 2 === 0 ? /^[0-9a-f]{16}$/ : /^[0-9a-f]{32}$/);
  }
});
