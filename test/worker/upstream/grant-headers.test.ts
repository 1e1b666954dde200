import { describe, expect, it } from "vitest";
import {
  GRANT_HEADER_VALUE_CHARS_MAX,
  GRANT_HEADERS_MAX,
  grantHeaders,
} from "../../../src/worker/upstream/grant-headers.ts";

const endpoints = ["10.0.0.1:8000", "gpu.local:8000"];
const token = { name: "x-session-token", values: ["one", "two"] };

describe("grantHeaders", () => {
  it("gives the value of the endpoint that served, in any case", () => {
    const grant = { endpoints, responseHeaders: [token] };
    expect(grantHeaders(grant, "10.0.0.1:8000")).toEqual({ "x-session-token": "one" });
    expect(grantHeaders(grant, "GPU.local:8000")).toEqual({ "x-session-token": "two" });
  });

  it("gives nothing for an endpoint that the grant does not name", () => {
    const grant = { endpoints, responseHeaders: [token] };
    expect(grantHeaders(grant, "10.9.9.9:8000")).toEqual({});
    expect(grantHeaders(grant, "")).toEqual({});
  });

  it("gives nothing where plugins set nothing, or nothing for this endpoint", () => {
    expect(grantHeaders({ endpoints }, "10.0.0.1:8000")).toEqual({});
    const responseHeaders = [
      { name: "x-a", values: ["", "two"] },
      { name: "x-b", values: [] },
    ];
    expect(grantHeaders({ endpoints, responseHeaders }, "10.0.0.1:8000")).toEqual({});
  });

  it.for([
    "set-cookie",
    "content-length",
    "location",
    "X-Session-Token",
    "x-request-id",
    "x-fairlead-endpoint",
    "x-gateway-destination-endpoint",
    "x-llm-d-request-dropped-reason",
    "x-",
    "x-a b",
  ])("does not let a plugin set %s", (name) => {
    const responseHeaders = [{ name, values: ["v", "v"] }];
    expect(grantHeaders({ endpoints, responseHeaders }, "10.0.0.1:8000")).toEqual({});
  });

  it.for(["a\r\nset-cookie: b", "\u00e4", "x".repeat(GRANT_HEADER_VALUE_CHARS_MAX + 1)])(
    "does not pass the value %j",
    (value) => {
      const responseHeaders = [{ name: "x-a", values: [value] }];
      expect(grantHeaders({ endpoints, responseHeaders }, "10.0.0.1:8000")).toEqual({});
    },
  );

  it("looks at a bounded number of headers", () => {
    const responseHeaders = Array.from({ length: GRANT_HEADERS_MAX + 1 }, (_, i) => ({
      name: `x-h-${i}`,
      values: ["x".repeat(GRANT_HEADER_VALUE_CHARS_MAX)],
    }));
    const names = Object.keys(grantHeaders({ endpoints, responseHeaders }, "10.0.0.1:8000"));
    expect(names).toHaveLength(GRANT_HEADERS_MAX);
    expect(names).not.toContain(`x-h-${GRANT_HEADERS_MAX}`);
  });
});
