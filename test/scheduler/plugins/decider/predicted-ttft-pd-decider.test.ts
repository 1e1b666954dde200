import { describe, expect, it } from "vitest";
import { CONTENT_BLOCK_TOKENS } from "../../../../src/scheduler/kv/content-keys.ts";
import {
  OVERHEAD_MS,
  TRANSFER_OVERHEAD_MS,
} from "../../../../src/scheduler/model/engine-speeds.ts";
import type { Decider } from "../../../../src/scheduler/plugin.ts";
import { type EndpointRow, pickContext } from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

const TYPE = "predicted-ttft-pd-decider";
const BLOCKS = 100;
const PROMPT = BLOCKS * CONTENT_BLOCK_TOKENS;
const ROLE = "llm-d.ai/role";
const DECODE = { labels: { [ROLE]: "decode" } };
const PREFILL = { labels: { [ROLE]: "prefill" } };

/** Slot 0 is the decode endpoint that was chosen. */
function decide(
  rows: readonly EndpointRow[],
  { params = {}, promptTokens = PROMPT, slot = 0, candidates = [...rows.keys()] } = {},
) {
  const totalBlocks = Math.floor(promptTokens / CONTENT_BLOCK_TOKENS);
  const context = pickContext(rows, { totalBlocks, request: { promptTokens }, candidates });
  const decider = createPlugin(TYPE, params) as Decider;
  const isApart = decider.decide(context, slot);
  const { names, values } = decider.verdictTerms!;
  const terms = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
  return { isApart, terms };
}

const isApart = (...asked: Parameters<typeof decide>) => decide(...asked).isApart;

describe("the inequality", () => {
  it("keeps prefill where it is decoded while nobody waits there: moving takes longer", () => {
    expect(isApart([DECODE, PREFILL])).toBe(false);
  });

  it("splits as soon as the queue of prompts is longer than the way, and the margin", () => {
    const way = TRANSFER_OVERHEAD_MS + PROMPT * 0.02;
    const behind = (prefillBusyMs: number) => [{ ...DECODE, prefillBusyMs }, PREFILL];
    const params = { marginMs: 30 };
    expect(isApart(behind(way + 30), { params })).toBe(false);
    expect(isApart(behind(way + 31), { params })).toBe(true);
  });

  it("waits for prompts at the prefill endpoint, too", () => {
    const rows = (prefillBusyMs: number) => [
      { ...DECODE, prefillBusyMs: 2_000 },
      { ...PREFILL, prefillBusyMs },
    ];
    expect(isApart(rows(0))).toBe(true);
    expect(isApart(rows(2_000))).toBe(false);
  });

  it("counts what a faster prefill endpoint saves", () => {
    const fast = { ...PREFILL, prefillMsPerToken: 0.02 };
    expect(isApart([{ ...DECODE, prefillMsPerToken: 0.1 }, fast])).toBe(true);
  });

  it("counts what the prefill endpoint has cached", () => {
    const slow = { ...DECODE, prefillBusyMs: 100 };
    expect(isApart([slow, PREFILL])).toBe(false);
    expect(isApart([slow, { ...PREFILL, matchedBlocks: BLOCKS / 2 }])).toBe(true);
  });

  it("takes the best of the prefill endpoints", () => {
    const local = { ...DECODE, prefillBusyMs: 2_000 };
    const busy = { ...PREFILL, prefillBusyMs: 9_000 };
    expect(isApart([local, busy])).toBe(false);
    expect(isApart([local, busy, PREFILL, busy])).toBe(true);
  });

  it("moves as fast as was learned, or as is configured", () => {
    const local = { ...DECODE, prefillBusyMs: 500 };
    expect(isApart([local, PREFILL])).toBe(true);
    const slow = { ...local, transferMsPerToken: 0.2 };
    expect(isApart([slow, PREFILL])).toBe(false);
    expect(isApart([slow, PREFILL], { params: { transferMsPerToken: 0 } })).toBe(true);
    expect(isApart([local, PREFILL], { params: { transferOverheadMs: 900 } })).toBe(false);
  });

  it("waits for memory where it is decoded, whoever prefills", () => {
    const full = { kvUsage: 1, queueDepth: 1, serviceMs: 60_000 };
    expect(isApart([{ ...DECODE, ...full }, PREFILL])).toBe(false);
    expect(isApart([{ ...DECODE, ...full, prefillBusyMs: 500 }, PREFILL])).toBe(true);
  });
});

describe("what runs there", () => {
  const running = (runningRequests: number) => ({ ...DECODE, runningRequests });

  it("is worth a split when a long prefill would hold it up", () => {
    expect(isApart([running(0), PREFILL])).toBe(false);
    expect(isApart([running(2), PREFILL])).toBe(false);
    expect(isApart([running(3), PREFILL])).toBe(true);
  });

  it("does not mind a short one", () => {
    expect(isApart([running(50), PREFILL], { params: { stallMsMax: 640 } })).toBe(false);
    expect(isApart([running(50), PREFILL], { params: { stallMsMax: 639 } })).toBe(true);
  });

  it("does not count if so configured", () => {
    expect(isApart([running(200), PREFILL], { params: { stallWeight: 0 } })).toBe(false);
  });

  it("is not spared at any price", () => {
    expect(isApart([running(10), { ...PREFILL, prefillBusyMs: 450 }])).toBe(true);
    expect(isApart([running(10), { ...PREFILL, prefillBusyMs: 460 }])).toBe(false);
  });
});

describe("is off", () => {
  const wanted = [{ ...DECODE, prefillBusyMs: 60_000 }, PREFILL];

  it.for([
    { name: "for short prompts", rows: wanted, promptTokens: 511 },
    { name: "for prompts without a block", rows: wanted, promptTokens: 10 },
    { name: "for a warm cache", rows: [{ ...wanted[0], matchedBlocks: BLOCKS - 7 }, PREFILL] },
    { name: "without a decode endpoint", rows: wanted, slot: -1 },
    { name: "where nobody prefills", rows: [wanted[0]!, DECODE, {}] },
    {
      name: "where the one who prefills is the same",
      rows: [{ ...PREFILL, prefillBusyMs: 60_000, runningRequests: 50 }],
    },
    { name: "where it may hang", rows: [wanted[0]!, { ...PREFILL, ageMs: Infinity }] },
    { name: "where relays cannot reach it", rows: [wanted[0]!, { ...PREFILL, ejectedMs: 1 }] },
    { name: "where it may not be chosen", rows: wanted, candidates: [0] },
  ])("$name", ({ rows, ...options }) => {
    expect(isApart(wanted)).toBe(true);
    expect(isApart(rows as EndpointRow[], options)).toBe(false);
  });

  it("from just below the threshold, and not at it", () => {
    expect(isApart(wanted, { promptTokens: 512 })).toBe(true);
    const cached = { ...wanted[0], matchedBlocks: BLOCKS - 8 };
    expect(isApart([cached, PREFILL])).toBe(true);
    expect(isApart(wanted, { promptTokens: 512, params: { uncachedTokensMin: 513 } })).toBe(false);
  });
});

it("takes nothing for cached of a prompt without a full block, whatever is left in the buffers", () => {
  const rows = [{ ...DECODE, matchedBlocks: 50 }, PREFILL];
  const context = pickContext(rows, { totalBlocks: 0, request: { promptTokens: 9_000 } });
  const decider = createPlugin(TYPE, {}) as Decider;
  decider.decide(context, 0);
  expect(decider.verdictTerms!.values.at(-1)).toBe(9_000);
});

describe("terms", () => {
  it("show both sides in milliseconds", () => {
    const rows = [{ ...DECODE, runningRequests: 5, matchedBlocks: 50 }, PREFILL];
    const moved = PROMPT / 2;
    expect(decide(rows).terms).toEqual({
      localMs: OVERHEAD_MS + moved * 0.1,
      disturbedMs: 0.1 * 5 * moved * 0.1,
      splitMs: OVERHEAD_MS + PROMPT * 0.1 + TRANSFER_OVERHEAD_MS + moved * 0.02,
      transferMs: TRANSFER_OVERHEAD_MS + moved * 0.02,
      uncachedTokens: moved,
    });
  });

  it("say nothing of what was not asked", () => {
    expect(decide([DECODE, PREFILL], { promptTokens: 100 }).terms).toEqual({
      localMs: NaN,
      disturbedMs: NaN,
      splitMs: NaN,
      transferMs: NaN,
      uncachedTokens: 100,
    });
    expect(decide([DECODE]).terms["splitMs"]).toBeNaN();
  });
});
