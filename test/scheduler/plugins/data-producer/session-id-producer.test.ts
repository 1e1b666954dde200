import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

const plugin = pluginOf("session-id-producer");

describe("session-id-producer", () => {
  it.for([
    { name: "a header", params: { headerName: "X-Session" }, header: "x-session" },
    { name: "a cookie", params: { cookieName: "Sid" }, header: "cookie:Sid" },
  ])("takes the session from $name, and asks for it", ({ params, header }) => {
    const producer = createProducer("session-id-producer", params);
    producer.produce(pickContext([], { request: { headers: { [header]: "s-1" } } }));
    expect(producer.data["session-id"]!.value).toBe("s-1");
    producer.produce(pickContext([]));
    expect(producer.data["session-id"]!.value).toBeUndefined();
    expect(plugin.requestHeaders!(plugin.params.parse(params))).toEqual([header]);
  });

  it.for([
    { name: "neither", params: {} },
    { name: "both", params: { headerName: "a", cookieName: "b" } },
  ])("wants one of a header and a cookie, not $name", ({ params }) => {
    expect(plugin.params.safeParse(params).error!.issues[0]!.message).toContain("exactly one");
  });
});
