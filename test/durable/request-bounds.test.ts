import { reset } from "cloudflare:test";
import { afterAll, describe, expect, it } from "vitest";
import { boundRequest } from "../../src/durable/request-bounds.ts";
import { CONTENT_KEYS_MAX } from "../../src/scheduler/kv/content-keys.ts";
import {
  type InferenceRequest,
  REQUEST_FACTS_LIMITS,
} from "../../src/scheduler/model/inference-request.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { pickRequest, POOL, poolStub, poolWithEndpoints, TestWorker } from "./pool-client.ts";

afterAll(() => reset());

const { headersMax, headerValueBytesMax, mediaMax } = REQUEST_FACTS_LIMITS;

function requestWith(facts: Partial<InferenceRequest>): InferenceRequest {
  return { ...pickRequest("request-1").request, ...facts };
}

function headersOf(count: number, value = "v"): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, value]));
}

function mediaOf(count: number) {
  return { hashes: new Uint32Array(2 * count).fill(7), tokens: new Uint32Array(count).fill(1) };
}

describe("boundRequest", () => {
  it("leaves a request alone whose facts are as large as they may be", () => {
    const request = requestWith({
      keys: new Uint32Array(2 * CONTENT_KEYS_MAX),
      headers: headersOf(headersMax, "v".repeat(headerValueBytesMax)),
      media: mediaOf(mediaMax),
    });
    expect(boundRequest(request)).toBe(request);
  });

  it("cuts keys, headers and media that are too many", () => {
    const bounded = boundRequest(
      requestWith({
        keys: new Uint32Array(2 * CONTENT_KEYS_MAX + 2),
        headers: headersOf(headersMax + 1),
        media: mediaOf(mediaMax + 1),
      }),
    );
    expect(bounded.keys).toHaveLength(2 * CONTENT_KEYS_MAX);
    expect(bounded.headers).toEqual(headersOf(headersMax));
    expect(bounded.media).toEqual(mediaOf(mediaMax));
    expect(bounded.requestId).toBe("request-1");
  });

  it.for([
    { name: "value", headers: { "x-long": "v".repeat(headerValueBytesMax + 1) } },
    { name: "value in bytes", headers: { "x-long": "ü".repeat(headerValueBytesMax / 2 + 1) } },
    { name: "name", headers: { [`x-${"n".repeat(headerValueBytesMax)}`]: "v" } },
  ])("leaves out a header whose $name is too long", ({ headers }) => {
    const bounded = boundRequest(requestWith({ headers: { "x-kept": "v", ...headers } }));
    expect(bounded.headers).toEqual({ "x-kept": "v" });
  });

  it("adds nothing that a request does not have", () => {
    const bounded = boundRequest(requestWith({ keys: new Uint32Array(2 * CONTENT_KEYS_MAX + 2) }));
    expect(bounded).not.toHaveProperty("headers");
    expect(bounded).not.toHaveProperty("media");
  });
});

it("holds for what a pool's object decides by", async () => {
  await poolWithEndpoints(2);
  const scheduler = schedulerConfigSchema.parse({
    plugins: [{ type: "header-based-testing-filter" }, { type: "max-score-picker" }],
  });
  await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler }, 2);
  using worker = new TestWorker();
  const pickWith = (requestId: string, value: string) => {
    const headers = { "test-epp-endpoint-selection": value };
    return worker.pick({
      ...pickRequest(requestId),
      request: requestWith({ requestId, headers }),
    });
  };
  const value = "10.0.0.2:8000";
  expect(await pickWith("short", value)).toMatchObject({ ok: true, endpoints: [value] });
  // Left out, so that nobody is named.
  const long = `${value},`.padEnd(headerValueBytesMax + 1, "x");
  expect(await pickWith("long", long)).toMatchObject({ ok: false });
});
