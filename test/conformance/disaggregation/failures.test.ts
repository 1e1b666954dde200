// What becomes of a split request when something fails: for every connector, every failure of a prefiller, of a
// decoder that has been handed something, and a client that leaves in each phase.

import { describe, expect, it, vi } from "vitest";
import {
  CONNECTOR_NAMES,
  type ConnectorName,
} from "../../../src/agents/relay/disaggregation/connector.ts";
import { RELAY_ERROR_HEADER } from "../../../src/agents/protocol/headers.ts";
import type { LegSeen, Script } from "../../agents/support/split-relay.ts";
import { namesIn } from "./leg-table.ts";
import { ALONE, CONCURRENT, DONE, SplitPods, type Trouble } from "./split-pods.ts";

const WAIT = { timeout: 5_000 };
/** For a prefiller that hangs; one that works is faster on any machine. */
const HANG = { policy: { timeoutMs: 800, pairTimeoutMs: 800 } };
const optionsFor = (trouble: string) => (trouble === "hangs" ? HANG : {});
const texts = (legs: readonly LegSeen[]) => legs.map(({ text }) => text);

/** Decoders of these compute no prompt. */
const NEEDS_PREFILL: ReadonlySet<ConnectorName> = new Set(["sglang"]);

/** Failures of a prefiller after which another is asked, as long as there is time. */
const RETRIED: { trouble: Trouble | "refuses"; outcome: string }[] = [
  { trouble: "refuses", outcome: "unreachable" },
  { trouble: "429", outcome: "overloaded" },
  { trouble: "503", outcome: "unavailable" },
  { trouble: "resets", outcome: "broken" },
  { trouble: "resets in the answer", outcome: "broken" },
  { trouble: "hangs", outcome: "timeout" },
];

describe.for(CONNECTOR_NAMES)("%s, where a prefiller fails", (connector) => {
  const isInTime = ({ trouble }: { trouble: string }) =>
    trouble !== "hangs" || CONCURRENT.has(connector);

  it.for(RETRIED.filter(isInTime))(
    "by $outcome ($trouble): another serves",
    async ({ trouble, outcome }) => {
      await using pods = await SplitPods.start(
        connector,
        { prefill: [trouble, undefined], decode: [undefined] },
        optionsFor(trouble),
      );
      const answer = await pods.ask();
      expect([answer.status, await answer.text()]).toEqual([200, DONE]);
      await vi.waitFor(() => expect(pods.results("split")).toBe(1), WAIT);
      expect([pods.prefills(outcome), pods.prefills("ok")]).toEqual([1, 1]);
      const [decoder] = pods.decoders;
      const served = decoder!.legs.at(-1)!.text;
      expect(pods.isPaired(served)).toBe(true);
      // One that waits for the prefill is asked once.
      const legsMax = CONCURRENT.has(connector) ? 2 : 1;
      expect(decoder!.legs.length).toBeLessThanOrEqual(legsMax);
      // Each pair has a name of its own, and a leg that was withdrawn is over.
      const names = texts(decoder!.legs).map((leg) => namesIn(leg).join());
      expect(new Set(names).size).toBe(names.length);
      for (const leg of decoder!.legs.slice(0, -1)) expect(leg.isAborted).toBe(true);
      expect(pods.stranded).toBe(0);
    },
  );

  const alone = NEEDS_PREFILL.has(connector) ? [] : RETRIED;
  it.for(alone)("by $outcome ($trouble), and no other: decoded alone", async (row) => {
    await using pods = await SplitPods.start(
      connector,
      { prefill: [row.trouble], decode: [undefined] },
      optionsFor(row.trouble),
    );
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    expect(texts(pods.decoders[0]!.legs).at(-1)).toBe(ALONE);
    await vi.waitFor(() => expect(pods.results("decode-only")).toBe(1), WAIT);
    expect(pods.prefills(row.outcome)).toBe(1);
  });

  const never = NEEDS_PREFILL.has(connector) ? RETRIED : [];
  it.for(never)("by $outcome ($trouble), and no other: not decoded", async ({ trouble }) => {
    await using pods = await SplitPods.start(
      connector,
      { prefill: [trouble], decode: [undefined] },
      optionsFor(trouble),
    );
    const answer = await pods.ask();
    expect([answer.status, answer.headers.get(RELAY_ERROR_HEADER)]).toEqual([503, "no-prefill"]);
    expect(texts(pods.decoders[0]!.legs)).not.toContain(ALONE);
    await vi.waitFor(() => expect(pods.results("failed")).toBe(1), WAIT);
  });

  it.runIf(!CONCURRENT.has(connector))("by hanging, while it has time for one", async () => {
    const made = { prefill: ["hangs", undefined], decode: [undefined] } as const;
    await using pods = await SplitPods.start(connector, made, HANG);
    expect(await (await pods.ask()).text()).toBe(DONE);
    expect(texts(pods.decoders[0]!.legs)).toEqual([ALONE]);
    expect(pods.prefillers[1]!.legs).toEqual([]);
  });

  it("by another 5xx: decoded alone, or returned, and nobody else is asked", async () => {
    await using pods = await SplitPods.start(connector, {
      prefill: ["500", undefined],
      decode: [undefined],
    });
    const answer = await pods.ask();
    const isReturned = NEEDS_PREFILL.has(connector);
    expect(answer.status).toBe(isReturned ? 500 : 200);
    expect(await answer.text()).toBe(isReturned ? '{"error":{"message":"500"}}' : DONE);
    expect(texts(pods.decoders[0]!.legs).includes(ALONE)).toBe(!isReturned);
    expect(pods.prefillers[1]!.legs).toEqual([]);
    expect(pods.prefills("engine-error")).toBe(1);
  });

  it("by a 4xx: the client gets it, and nobody else is asked", async () => {
    await using pods = await SplitPods.start(connector, {
      prefill: ["400", undefined],
      decode: [undefined],
    });
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([400, '{"error":{"message":"400"}}']);
    expect(pods.prefillers[1]!.legs).toEqual([]);
    const legsMax = CONCURRENT.has(connector) ? 1 : 0;
    expect(pods.decoders[0]!.legs.length).toBeLessThanOrEqual(legsMax);
    await vi.waitFor(() => {
      expect(pods.decoders[0]!.legs.every(({ isAborted }) => isAborted)).toBe(true);
      expect(pods.results("returned")).toBe(1);
    }, WAIT);
  });
});

describe("nixlv2, where a prefiller answers without parameters", () => {
  it("is decoded alone", async () => {
    await using pods = await SplitPods.start("nixlv2", {
      prefill: ["answers without parameters", undefined],
      decode: [undefined],
    });
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    expect(texts(pods.decoders[0]!.legs)).toEqual([ALONE]);
    expect(pods.prefillers[1]!.legs).toEqual([]);
    expect([pods.prefills("no-parameters"), pods.results("decode-only")]).toEqual([1, 1]);
  });
});

function withDecoder(connector: ConnectorName, trouble: Trouble | "refuses" | Script) {
  return SplitPods.start(connector, { prefill: [undefined], decode: [trouble, undefined] });
}

const AT_ONCE = [...CONCURRENT];
const IN_ORDER = CONNECTOR_NAMES.filter((name) => !CONCURRENT.has(name));
const NOTHING_PULLED = ["refuses", "429", "503"] as const;
/** Computes alone, and fails with what it is handed. */
const failsPaired: Script = (response, { text }) => {
  if (text === ALONE) response.writeHead(200, { "content-type": "text/event-stream" }).end(DONE);
  else response.writeHead(500).end("pulled nothing");
};

describe.for(IN_ORDER)("%s, where the decoder fails after the prefill", (connector) => {
  it.for(NOTHING_PULLED)("having pulled nothing (%s): another is handed it", async (trouble) => {
    await using pods = await withDecoder(connector, trouble);
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    await vi.waitFor(() => expect(pods.results("split")).toBe(1), WAIT);
    const [failed, served] = pods.decoders.map(({ legs }) => texts(legs));
    expect(served).toHaveLength(1);
    expect(pods.isPaired(served![0]!)).toBe(true);
    expect(failed).toEqual(trouble === "refuses" ? [] : served);
    expect(pods.prefillers[0]!.legs).toHaveLength(1);
    expect(pods.stranded).toBe(0);
  });

  it("perhaps having pulled (resets): another computes alone, and the rest is stranded", async () => {
    await using pods = await withDecoder(connector, "resets");
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    expect(texts(pods.decoders[1]!.legs)).toEqual([ALONE]);
    await vi.waitFor(() => expect(pods.stranded).toBe(1), WAIT);
  });

  it("by another 5xx: it computes alone", async () => {
    await using pods = await withDecoder(connector, failsPaired);
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    expect(texts(pods.decoders[0]!.legs)).toEqual([expect.not.stringMatching(ALONE), ALONE]);
  });
});

describe.for(AT_ONCE)("%s, where the decoder fails beside the prefill", (connector) => {
  it.for([...NOTHING_PULLED, "resets"] as const)(
    "(%s): another is paired anew",
    async (trouble) => {
      await using pods = await withDecoder(connector, trouble);
      const answer = await pods.ask();
      expect([answer.status, await answer.text()]).toEqual([200, DONE]);
      await vi.waitFor(() => expect(pods.results("split")).toBe(1), WAIT);
      // Its prefiller may wait for the first decoder for ever.
      const names = pods.prefillers[0]!.legs.map(({ text }) => namesIn(text)[0]);
      expect(new Set(names).size).toBe(names.length);
      expect(namesIn(pods.decoders[1]!.legs[0]!.text)[0]).toBe(names.at(-1));
      expect(pods.stranded).toBe(0);
    },
  );

  it("while the prefill is under way: that is told, and paired with another", async () => {
    await using pods = await SplitPods.start(connector, {
      prefill: ["hangs at first"],
      decode: ["503", undefined],
    });
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    const [first, second] = pods.prefillers[0]!.legs;
    const ends = () => [first!.isAborted, second!.isAborted];
    await vi.waitFor(() => expect(ends()).toEqual([true, false]), WAIT);
  });

  it.runIf(!NEEDS_PREFILL.has(connector))("by another 5xx: it computes alone", async () => {
    await using pods = await withDecoder(connector, failsPaired);
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    expect(texts(pods.decoders[0]!.legs)).toEqual([expect.not.stringMatching(ALONE), ALONE]);
    await vi.waitFor(() => expect(pods.results("decode-only")).toBe(1), WAIT);
  });

  it.runIf(NEEDS_PREFILL.has(connector))("by another 5xx: it is paired anew, once", async () => {
    let fails = 1;
    const failsAtFirst = (works: Script): Script => {
      return (...leg) => (fails-- > 0 ? failsPaired : works)(...leg);
    };
    await using pods = await SplitPods.start(connector, {
      prefill: [undefined, undefined],
      decode: [undefined],
    });
    const [decoder] = pods.decoders;
    decoder!.script = failsAtFirst(decoder!.script);
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([200, DONE]);
    const names = texts(decoder!.legs).map((leg) => namesIn(leg)[0]);
    expect(new Set(names).size).toBe(2);
    // The prefiller may be what failed: the other one has the second.
    expect(texts(pods.prefillers[1]!.legs).map((leg) => namesIn(leg)[0])).toEqual([names[1]]);
    await vi.waitFor(() => expect(pods.results("split")).toBe(1), WAIT);
    fails = 2;
    expect((await pods.ask()).status).toBe(500);
  });
});

describe.for(CONNECTOR_NAMES)("%s, where the decoder refuses the request", (connector) => {
  it("by a 4xx: the client gets it, and nobody else is asked", async () => {
    await using pods = await withDecoder(connector, "400");
    const answer = await pods.ask();
    expect([answer.status, await answer.text()]).toEqual([400, '{"error":{"message":"400"}}']);
    expect(pods.decoders[1]!.legs).toEqual([]);
    await vi.waitFor(() => expect(pods.results("failed")).toBe(1), WAIT);
  });
});

describe.for(CONNECTOR_NAMES)("%s, where the client leaves", (connector) => {
  const isConcurrent = CONCURRENT.has(connector);

  it("while it is prefilled: both engines are told at once", async () => {
    await using pods = await SplitPods.start(connector, {
      prefill: ["hangs", undefined],
      decode: [undefined],
    });
    const leaving = new AbortController();
    const answer = pods.ask(leaving.signal);
    const legs = () => [...pods.prefillers[0]!.legs, ...pods.decoders[0]!.legs];
    await vi.waitFor(() => expect(legs()).toHaveLength(isConcurrent ? 2 : 1), WAIT);
    leaving.abort();
    await expect(answer).rejects.toThrow(/abort/);
    await vi.waitFor(() => {
      expect(legs().every(({ isAborted }) => isAborted)).toBe(true);
      expect(pods.prefills("cancelled")).toBe(1);
    }, WAIT);
    expect(legs()).toHaveLength(isConcurrent ? 2 : 1);
    expect(pods.prefillers[1]!.legs).toEqual([]);
    expect(pods.stranded).toBe(0);
  });

  it("between prefill and the answer's first byte: the hand-off is stranded, and counted", async () => {
    await using pods = await SplitPods.start(connector, {
      prefill: [undefined],
      decode: ["hangs", undefined],
    });
    const leaving = new AbortController();
    const answer = pods.ask(leaving.signal);
    const [decoder, other] = pods.decoders;
    await vi.waitFor(() => {
      expect(decoder!.legs).toHaveLength(1);
      expect(pods.prefills("ok")).toBe(1);
    }, WAIT);
    leaving.abort();
    await expect(answer).rejects.toThrow(/abort/);
    await vi.waitFor(() => {
      expect(decoder!.legs[0]!.isAborted).toBe(true);
      expect(pods.stranded).toBe(1);
    }, WAIT);
    expect(other!.legs).toEqual([]);
  });

  it("inside the answer: the decoder is told", async () => {
    const [first] = DONE.split("data: [DONE]");
    await using pods = await SplitPods.start(connector, {
      prefill: [undefined],
      decode: [
        (response) => {
          response.writeHead(200, { "content-type": "text/event-stream" }).write(first);
        },
      ],
    });
    const leaving = new AbortController();
    const answer = await pods.ask(leaving.signal);
    await answer.body!.getReader().read();
    leaving.abort();
    await vi.waitFor(() => {
      expect(pods.decoders[0]!.legs[0]!.isAborted).toBe(true);
      expect(pods.results("split")).toBe(1);
    }, WAIT);
    expect(pods.stranded).toBe(0);
  });
});
