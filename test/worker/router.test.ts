import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it, vi } from "vitest";
import { serveRequest } from "../../src/worker/router.ts";
import { chatBody, deploy, TENANT_KEY } from "./support/deployment.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

// The second one is found by the router, the first one without it.
const PATHS = ["/v1/chat/completions", "/v1/chat/completions/"];

it.each(PATHS)(
  "answers a failure at %s with a 500 that reveals nothing, and logs it",
  async (path) => {
    (await deploy()).close();
    const logged: Record<string, unknown>[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => {
      logged.push(JSON.parse(line) as Record<string, unknown>);
    });
    vi.spyOn(crypto.subtle, "digest").mockImplementation(() => {
      throw new TypeError("the prompt was: canary-4711");
    });
    const response = await serveRequest(
      new Request(`https://fairlead.test${path}`, {
        method: "POST",
        body: JSON.stringify(chatBody()),
        headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
      }),
      env,
      createExecutionContext(),
    );
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({
      error: { code: "internal_error", type: "server_error" },
    });
    expect(response.headers.get("x-request-id")).toMatch(/^fl-/);
    expect(logged.map((line) => line["msg"])).toEqual(["request", "exception"]);
    expect(logged[1]).toMatchObject({
      name: "TypeError",
      requestId: response.headers.get("x-request-id"),
    });
    expect(logged[1]!["stack"]).not.toEqual([]);
    expect(JSON.stringify(logged) + text).not.toContain("canary");
  },
);
