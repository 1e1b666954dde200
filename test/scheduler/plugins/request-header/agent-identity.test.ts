import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

function identityOf(headers: Record<string, string>, params: object = {}): string | undefined {
  const producer = createProducer("agent-identity", params);
  producer.produce(pickContext([], { request: { headers } }));
  return producer.data["session-id"]!.value;
}

describe("agent-identity", () => {
  it.for([
    {
      name: "x-claude-code-session-id",
      headers: { "x-claude-code-session-id": "a", session_id: "b" },
    },
    { name: "x-session-affinity", headers: { "x-session-affinity": "a", "session-id": "b" } },
    { name: "session-id", headers: { "session-id": "a", session_id: "b" } },
    { name: "session_id", headers: { session_id: " a " } },
    { name: "the next where one is empty", headers: { "session-id": " ", session_id: "a" } },
  ])("takes the first of the headers that agents send: $name", ({ headers }) => {
    expect(identityOf(headers as Record<string, string>)).toBe("a");
  });

  it("looks at headers of its configuration before", () => {
    const params = { additionalSessionHeaders: ["X-Mine"] };
    expect(identityOf({ "x-mine": "a", "session-id": "b" }, params)).toBe("a");
    const plugin = pluginOf("agent-identity");
    expect(plugin.requestHeaders!(plugin.params.parse(params))).toEqual([
      "x-mine",
      "x-claude-code-session-id",
      "x-session-affinity",
      "session-id",
      "session_id",
    ]);
  });

  it("has no identity of a request without such a header, whatever the one before had", () => {
    const producer = createProducer("agent-identity");
    producer.produce(pickContext([], { request: { headers: { "session-id": "a" } } }));
    producer.produce(pickContext([]));
    expect(producer.data["session-id"]!.value).toBeUndefined();
  });

  it("takes few additional headers", () => {
    const additionalSessionHeaders = Array.from({ length: 9 }, (_, i) => `x-${i}`);
    const { params } = pluginOf("agent-identity");
    expect(params.safeParse({ additionalSessionHeaders }).success).toBe(false);
  });
});
