import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  answerOf,
  ask,
  type HandOffState,
  prefillLeg,
  PROMPT,
  startPair,
  stateOf,
  untilState,
} from "./harness.ts";

describe("vLLM's NixlConnector", () => {
  it("hands a prompt from one process to another", async () => {
    const { prefiller, decoder } = await startPair();
    const params = await prefillLeg(prefiller.url);
    expect(params).toMatchObject({
      do_remote_prefill: true,
      do_remote_decode: false,
      remote_host: "127.0.0.1",
      tp_size: 1,
    });
    const held = await stateOf(prefiller.url);
    expect(held).toMatchObject({ held: 1, requests: [{ leg: "prefill", cachedTokens: 0 }] });
    expect((params["remote_block_ids"] as number[][])[0]).toHaveLength(held.blocksInUse);

    const answer = await answerOf(ask(decoder.url, { kv_transfer_params: params }));
    expect(answer.choices[0]!.message.content).toBe(PROMPT);
    const { usage } = answer;
    // As vLLM counts: what was read counts as cached, and one token is computed.
    expect(usage.prompt_tokens_details.cached_tokens).toBe(usage.prompt_tokens - 1);
    expect(params["remote_num_tokens"]).toBe(usage.prompt_tokens);
    const from = await stateOf(prefiller.url);
    const isClosed = ({ requests }: HandOffState) => requests[0]?.outcome === "finished";
    const to = await untilState(decoder.url, isClosed);
    expect(from).toMatchObject({ held: 0, blocksInUse: 0, heldReleased: 1, heldExpired: 0 });
    expect(to).toMatchObject({ transfersReceived: 1, transfersFailed: 0, blocksInUse: 0 });
    expect(to.requests[0]).toMatchObject({ leg: "decode", receivedTokens: usage.prompt_tokens });
  });

  it("waits for the transfer", async () => {
    const slow = { "time-scale": 1, "kv-cache-transfer-latency": 300, "inter-token-latency": 1 };
    const { prefiller, decoder } = await startPair({}, slow);
    const params = await prefillLeg(prefiller.url);
    const startedMs = performance.now();
    await answerOf(ask(decoder.url, { max_tokens: 1, kv_transfer_params: params }));
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(300);
  });

  it("frees the blocks when no decoder comes", async () => {
    const { prefiller } = await startPair({ "kv-lease-duration": 5_000 });
    await prefillLeg(prefiller.url);
    const state = await untilState(prefiller.url, ({ held }) => held === 0);
    expect(state).toMatchObject({ heldExpired: 1, heldReleased: 0, blocksInUse: 0 });
  });

  it("keeps them for a decoder that waits for its turn", async () => {
    const lease = { "time-scale": 0.05, "kv-lease-duration": 10_000 };
    const { prefiller, decoder } = await startPair(lease, { ...lease, "max-num-seqs": 1 });
    const params = await prefillLeg(prefiller.url);
    // 100 tokens of 12 ms at a twentieth: well over one lease of 500 ms.
    const other = ask(decoder.url, { max_tokens: 1_500, ignore_eos: true });
    await untilState(decoder.url, ({ running }) => running === 1);
    const answer = await answerOf(ask(decoder.url, { max_tokens: 1, kv_transfer_params: params }));
    expect(answer.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(0);
    expect((await other).status).toBe(200);
    expect(await stateOf(prefiller.url)).toMatchObject({ heldExpired: 0, heldReleased: 1 });
  });

  it.for([
    { name: "expired", change: {}, isLate: true },
    { name: "unknown", change: { remote_request_id: "cmpl-nobody" }, isLate: false },
    { name: "of other blocks", change: { remote_block_ids: [[1, 2, 3]] }, isLate: false },
    { name: "of an engine that is gone", change: { remote_port: 1 }, isLate: false },
  ])("fails a request whose prompt is $name, or computes it", async ({ change, isLate }) => {
    const lease = { "kv-lease-duration": isLate ? 1_000 : 30_000 };
    const answers = { fail: new Response(), recompute: new Response() };
    for (const policy of ["fail", "recompute"] as const) {
      const { prefiller, decoder } = await startPair(lease, { "kv-load-failure-policy": policy });
      const params = { ...(await prefillLeg(prefiller.url)), ...change };
      if (isLate) await untilState(prefiller.url, ({ held }) => held === 0);
      answers[policy] = await ask(decoder.url, { kv_transfer_params: params });
      const state = await stateOf(decoder.url);
      expect(state).toMatchObject({ transfersFailed: 1, transfersReceived: 0, blocksInUse: 0 });
    }
    expect(answers.fail.status).toBe(500);
    expect((await answerOf(answers.fail)).error).toMatchObject({ type: "InternalServerError" });
    expect(answers.recompute.status).toBe(200);
    const { usage } = await answerOf(answers.recompute);
    expect(usage.prompt_tokens_details.cached_tokens).toBe(0);
  });

  it("ends a stream with an error that cannot have its prompt", async () => {
    const { prefiller, decoder } = await startPair();
    const params = { ...(await prefillLeg(prefiller.url)), remote_request_id: "cmpl-nobody" };
    const response = await ask(decoder.url, { stream: true, kv_transfer_params: params });
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toContain('"type":"InternalServerError"');
    expect(text).toMatch(/data: \[DONE\]\n\n$/);
  });

  it("computes the prompt itself where it was not told what to read", async () => {
    const { decoder } = await startPair();
    const kv = { do_remote_prefill: true, remote_engine_id: null, remote_block_ids: null };
    const answer = await answerOf(ask(decoder.url, { kv_transfer_params: kv }));
    expect(answer.choices[0]!.message.content).toBe(PROMPT);
    expect(await stateOf(decoder.url)).toMatchObject({ transfersReceived: 0, transfersFailed: 0 });
    expect(decoder.lines.join("")).toContain("remote_* is missing");
  });

  it("frees what a prefiller was working on when the client leaves", async () => {
    const { prefiller } = await startPair({ "time-scale": 1, "prefill-overhead": 60_000 });
    const client = new AbortController();
    const kv = { do_remote_decode: true };
    const fields = { max_tokens: 1, kv_transfer_params: kv };
    const leg = ask(prefiller.url, fields, { signal: client.signal });
    leg.catch(() => {});
    await untilState(prefiller.url, ({ running }) => running === 1);
    client.abort();
    const state = await untilState(prefiller.url, ({ running }) => running === 0);
    expect(state).toMatchObject({ blocksInUse: 0, held: 0, aborted: 1 });
  });

  it("tells the prefiller when the client leaves before the transfer ends", async () => {
    const slow = { "time-scale": 1, "kv-cache-transfer-latency": 60_000 };
    const { prefiller, decoder } = await startPair({}, slow);
    const params = await prefillLeg(prefiller.url);
    const client = new AbortController();
    const leg = ask(decoder.url, { kv_transfer_params: params }, { signal: client.signal });
    leg.catch(() => {});
    await untilState(decoder.url, ({ waiting }) => waiting === 1);
    await sleep(20);
    client.abort();
    const state = await untilState(decoder.url, ({ waiting }) => waiting === 0);
    expect(state.blocksInUse).toBe(0);
    await untilState(prefiller.url, ({ held }) => held === 0);
    expect(await stateOf(prefiller.url)).toMatchObject({ heldReleased: 1, heldExpired: 0 });
  });

  it("computes for nobody where it is a decoder, and reads from nobody as a prefiller", async () => {
    const { prefiller, decoder } = await startPair();
    expect(await prefillLeg(decoder.url)).toBeUndefined();
    expect(await stateOf(decoder.url)).toMatchObject({ held: 0, blocksInUse: 0 });
    const params = await prefillLeg(prefiller.url);
    await answerOf(ask(prefiller.url, { kv_transfer_params: params }));
    expect(await stateOf(prefiller.url)).toMatchObject({ transfersReceived: 0, held: 1 });
  });
});
