import { describe, expect, it } from "vitest";
import { HandOffs, NAMES_MAX } from "../../../../src/agents/simulator/disaggregation/hand-offs.ts";

const signal = new AbortController().signal;
const held = (blockIds: number[] = [1, 2]) => {
  let isHeld = true;
  return {
    tokens: 20,
    blockIds,
    renew: () => isHeld,
    release: () => isHeld && !(isHeld = false),
  };
};
const claim = (name: string, more: object = {}) => ({
  name,
  blockIds: undefined,
  waitMs: 0,
  signal,
  ...more,
});

describe("hand-offs", () => {
  it("give a prompt to who has its name, and only as long as it is held", async () => {
    const handOffs = new HandOffs();
    handOffs.offer("a")!.computed(held());
    expect(await handOffs.claim(claim("a"))).toEqual({ ok: true, tokens: 20 });
    expect(await handOffs.claim(claim("b"))).toEqual({ ok: false, why: "unknown" });
    expect(await handOffs.claim(claim("a", { blockIds: [1, 3] }))).toMatchObject({
      why: "other-blocks",
    });
    expect(handOffs.done("a")).toBe(true);
    expect(handOffs.done("a")).toBe(false);
    expect(await handOffs.claim(claim("a"))).toEqual({ ok: false, why: "gone" });
  });

  it("let a claim wait for an offer", async () => {
    const handOffs = new HandOffs();
    const pending = handOffs.claim(claim("a", { waitMs: 5_000 }));
    handOffs.offer("a")!.computed(held());
    expect(await pending).toMatchObject({ ok: true });
  });

  it("tell a claim that an offer was withdrawn", async () => {
    const handOffs = new HandOffs();
    const offer = handOffs.offer("a")!;
    const pending = handOffs.claim(claim("a", { waitMs: 5_000 }));
    offer.withdraw();
    expect(await pending).toEqual({ ok: false, why: "gone" });
    expect(handOffs.size).toBe(0);
  });

  it("keep no name that nobody uses", async () => {
    const handOffs = new HandOffs();
    expect(await handOffs.claim(claim("a", { waitMs: 5 }))).toEqual({ ok: false, why: "late" });
    expect(handOffs.size).toBe(0);
  });

  it("take a name once", () => {
    const handOffs = new HandOffs();
    expect(handOffs.offer("a")).toBeDefined();
    expect(handOffs.offer("a")).toBeUndefined();
  });

  it("have a bound", async () => {
    const handOffs = new HandOffs();
    for (let i = 0; i < NAMES_MAX; i++) handOffs.offer(`n${i}`);
    expect(handOffs.offer("one more")).toBeUndefined();
    expect(await handOffs.claim(claim("more", { waitMs: 5 }))).toEqual({ ok: false, why: "full" });
  });
});
