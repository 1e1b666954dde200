import { describe, expect, it } from "vitest";
import { shardOfRequest } from "../../../src/agents/protocol/request-shard.ts";
import { createRequestId, poolTag, requestIdAt } from "../../../src/worker/request-id.ts";

describe("the shard in a request id", () => {
  it("is the one that the Worker wrote", () => {
    const id = createRequestId("0123456789abcdef".repeat(2));
    expect(shardOfRequest(id)).toBe(0);
    for (const shard of [0, 1, 10, 15]) {
      expect(shardOfRequest(requestIdAt(id, poolTag("eu"), shard))).toBe(shard);
    }
  });

  it.for(["", "abc", "fl-1a2b3c4d-01-xyz", `x${createRequestId("0".repeat(32))}`])(
    "is the first one for %j",
    (id) => expect(shardOfRequest(id)).toBe(0),
  );
});
