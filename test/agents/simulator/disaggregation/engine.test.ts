import { describe, expect, it } from "vitest";
import { chat, MODEL, post, readEvents, startEngines } from "../harness.ts";
import { answerOf, ask, PROMPT, stateOf } from "./harness.ts";

describe("a threshold of cached tokens", () => {
  it("ends a request with an empty answer where less is cached", async () => {
    const { url } = await startEngines();
    const cold = await answerOf(ask(url, { cache_hit_threshold: 0.5 }));
    expect(cold.choices[0]).toMatchObject({
      finish_reason: "cache_threshold",
      message: { content: "" },
    });
    await answerOf(ask(url, { cache_hit_threshold: 0 }));
    const warm = await answerOf(ask(url, { cache_hit_threshold: 0.5 }));
    expect(warm.choices[0]!.message.content).toBe(PROMPT);
    expect(await stateOf(url)).toMatchObject({ blocksInUse: 0, running: 0 });
  });

  it("says so in a stream", async () => {
    const { url } = await startEngines();
    const events = await readEvents(await ask(url, { cache_hit_threshold: 0.5, stream: true }));
    expect(events.at(-1)).toBe("[DONE]");
    expect(events.at(-2)).toContain('"finish_reason":"cache_threshold"');
  });

  it("can be the engine's own, which a request overrides", async () => {
    const { url } = await startEngines({ "global-cache-hit-threshold": 0.5 });
    const cold = await answerOf(ask(url));
    expect(cold.choices[0]!.finish_reason).toBe("cache_threshold");
    const asked = await answerOf(ask(url, { cache_hit_threshold: 0 }));
    expect(asked.choices[0]!.message.content).toBe(PROMPT);
  });

  it("can be forced by a header", async () => {
    const { url } = await startEngines();
    await answerOf(ask(url));
    const headers = { "x-cache-threshold-finish-reason": "true" };
    const answer = await answerOf(ask(url, {}, { headers }));
    expect(answer.choices[0]!.finish_reason).toBe("cache_threshold");
  });
});

describe("an encoder", () => {
  it("says where the embedding of each picture can be had", async () => {
    const { url, ports } = await startEngines({ role: "encode" });
    const item = { type: "image_url", image_url: { url: "http://pictures/1.png" } };
    const messages = [{ role: "user", content: [item] }];
    const body = { model: MODEL, messages, max_tokens: 1 };
    const answer = await answerOf(post(`${url}/v1/chat/completions`, body));
    const [[hash, descriptor]] = Object.entries(answer.ec_transfer_params!) as [[string, object]];
    expect(hash).toMatch(/^sim_image_/);
    expect(descriptor).toMatchObject({ peer_host: "127.0.0.1", peer_port: ports[0] });
    expect((await answerOf(chat(url, "text only"))).ec_transfer_params).toBeUndefined();
  });
});

describe("a data-parallel rank", () => {
  it("serves what names it, whichever rank's port it came to", async () => {
    const { urls } = await startEngines({ engines: 2, "data-parallel-size": 2 });
    const headers = { "x-data-parallel-rank": "1" };
    await answerOf(ask(urls[2]!, {}, { headers }));
    // The second rank of the second engine has it in its cache now.
    const again = await answerOf(ask(urls[3]!));
    expect(again.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(0);
    const elsewhere = await answerOf(ask(urls[2]!));
    expect(elsewhere.usage.prompt_tokens_details.cached_tokens).toBe(0);
  });

  it("must exist", async () => {
    const { url } = await startEngines({ "data-parallel-size": 2 });
    for (const rank of ["2", "-1", "x"]) {
      const response = await ask(url, {}, { headers: { "x-data-parallel-rank": rank } });
      expect(response.status).toBe(400);
    }
  });
});
