import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TAIL_BYTES, usageIn, watchBody } from "../../../src/worker/upstream/tail-usage.ts";

const encoder = new TextEncoder();
const USAGE =
  '"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}';
const COUNTS = { promptTokens: 7, cachedTokens: 3, completionTokens: 2 };

function streamOf(chunks: readonly Uint8Array[], fails = false) {
  const left = [...chunks];
  let cancelled: unknown;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = left.shift();
      if (next !== undefined) controller.enqueue(next);
      else if (fails) controller.error(new Error("cut"));
      else controller.close();
    },
    cancel: (reason) => void (cancelled = reason),
  });
  return { stream, cancelled: () => cancelled };
}

describe("usage at the end of an answer", () => {
  it.each([
    ["of JSON", `{"choices":[],${USAGE}}`],
    ["of a stream", `data: {"usage":null}\n\ndata: {"choices":[],${USAGE}}\n\ndata: [DONE]\n\n`],
    [
      "with blanks",
      `{ "usage" : {"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}} }`,
    ],
    ["before a later null", `data: {${USAGE}}\n\ndata: {"usage":null}\n\n`],
  ])("is found %s", (_, text) => {
    expect(usageIn(text)).toEqual(COUNTS);
  });

  it.each([
    ["nothing", ""],
    [
      "what a model said",
      '{"content":"\\"usage\\":{\\"prompt_tokens\\":1,\\"completion_tokens\\":1}"}',
    ],
    ["usage that is cut off", '{"usage":{"prompt_tokens":7,'],
    ["usage that is none", '{"usage":{"prompt_tokens":"many"}}'],
    ["null at the start", '"usage":null'],
  ])("is not found in %s", (_, text) => {
    expect(usageIn(text)).toBeUndefined();
  });

  it("is the same however the answer is cut into chunks, and the bytes stay as they are", async () => {
    const text = `data: ${"x".repeat(3 * TAIL_BYTES)}é\n\ndata: {${USAGE}}\n\ndata: [DONE]\n\n`;
    const bytes = encoder.encode(text);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 2 * TAIL_BYTES + 10 }), { maxLength: 20 }),
        async (sizes) => {
          const chunks: Uint8Array[] = [];
          let at = 0;
          for (const size of sizes) chunks.push(bytes.slice(at, (at += size)));
          chunks.push(bytes.slice(at));
          const { body, ended } = watchBody(
            streamOf(chunks.filter((c) => c.byteLength > 0)).stream,
          );
          expect(await new Response(body).text()).toBe(text);
          expect(await ended).toMatchObject({ outcome: "completed", usage: COUNTS });
        },
      ),
      { numRuns: 50 },
    );
  });

  it("is looked for in the last bytes only", async () => {
    const chunks = [encoder.encode(`{${USAGE},"x":"${"y".repeat(TAIL_BYTES)}"}`)];
    const { body, ended } = watchBody(streamOf(chunks).stream);
    await new Response(body).arrayBuffer();
    expect((await ended).usage).toBeUndefined();
  });

  it("ends with a source that breaks, and passes the break on", async () => {
    const { body, ended } = watchBody(streamOf([encoder.encode("x")], true).stream);
    await expect(new Response(body).text()).rejects.toThrow("cut");
    expect(await ended).toMatchObject({ outcome: "failed", firstByteAtMs: expect.any(Number) });
  });

  it("cancels the source with a reader that leaves", async () => {
    const source = streamOf([encoder.encode("x"), encoder.encode("y")]);
    const { body, ended } = watchBody(source.stream);
    const reader = body.getReader();
    await reader.read();
    await reader.cancel("left");
    expect(await ended).toMatchObject({ outcome: "cancelled" });
    expect(source.cancelled()).toBe("left");
  });

  it("reads nothing before it is asked", async () => {
    let pulled = 0;
    const source = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled += 1;
          controller.enqueue(encoder.encode("x"));
        },
      },
      { highWaterMark: 0 },
    );
    const { body } = watchBody(source);
    await scheduler.wait(1);
    expect(pulled).toBe(0);
    await body.cancel();
  });
});
