import { describe, expect, it, vi } from "vitest";
import { SharedCopy, type SharedCopyAges } from "../../src/worker/shared-copy.ts";
import { until } from "../durable/pool-client.ts";

const HOUR_MS = 3_600_000;
const AGES = { freshMs: 0, usableMs: 0, keptMs: HOUR_MS, deadlineMs: 1_000, retryMs: 0 };

/** A copy of a counter that counts its reads, and of which any read can be made to fail. */
function counter(ages: Partial<SharedCopyAges>) {
  const copy = new SharedCopy<number>({ ...AGES, ...ages });
  const source = { reads: 0, isBroken: false, isStuck: false };
  const background: Promise<void>[] = [];
  const get = () =>
    copy.get({
      read: async (known) => {
        source.reads++;
        if (source.isStuck) await new Promise(() => undefined);
        if (source.isBroken) throw new Error("unreachable");
        return () => (known ?? 0) + 1;
      },
      waitUntil: (work) => background.push(work),
    });
  return { copy, source, background, get };
}

describe("SharedCopy", () => {
  it("is read once while it is fresh", async () => {
    const { get, source } = counter({ freshMs: HOUR_MS });
    expect([await get(), await get(), await get()]).toEqual([1, 1, 1]);
    expect(source.reads).toBe(1);
  });

  it("is used while one request reads it anew in the background", async () => {
    const { get, source, background } = counter({ usableMs: HOUR_MS });
    await get();
    expect(await Promise.all([get(), get(), get()])).toEqual([1, 1, 1]);
    expect(background).toHaveLength(1);
    await Promise.all(background);
    expect(source.reads).toBe(2);
    expect(await get()).toBe(2);
  });

  it("is read first when it is older than usable", async () => {
    const { get } = counter({});
    expect([await get(), await get()]).toEqual([1, 2]);
  });

  it("stays in use when it cannot be read, and recovers", async () => {
    const { get, source } = counter({});
    await get();
    source.isBroken = true;
    expect(await get()).toBe(1);
    source.isBroken = false;
    expect(await get()).toBe(2);
  });

  it("is unavailable when it was never read, or too long ago", async () => {
    const { get, source } = counter({ keptMs: 20 });
    source.isBroken = true;
    expect(await get()).toBeUndefined();
    source.isBroken = false;
    expect(await get()).toBe(1);
    source.isBroken = true;
    await until(async () => (await get()) === undefined);
  });

  it("is left alone for a while after a failure, and then no longer", async () => {
    const { get, source } = counter({ retryMs: 50 });
    await get();
    source.isBroken = true;
    await get();
    await get();
    expect(source.reads).toBe(2);
    source.isBroken = false;
    await until(async () => (await get()) === 2);
  });

  it("gives up a read that takes too long", async () => {
    const { get, source } = counter({ deadlineMs: 20 });
    await get();
    source.isStuck = true;
    expect(await get()).toBe(1);
  });

  it("is read anew after forget, and not overwritten by a read that began before", async () => {
    const copy = new SharedCopy<string>({ ...AGES, freshMs: HOUR_MS });
    const slow = Promise.withResolvers<() => string>();
    const old = vi.fn<() => string>(() => "old");
    const waitUntil = () => undefined;
    const before = copy.get({ read: () => slow.promise, waitUntil });
    copy.forget();
    expect(await copy.get({ read: async () => () => "new", waitUntil })).toBe("new");
    slow.resolve(old);
    expect(await before).toBe("new");
    expect(old).not.toHaveBeenCalled();
    expect(await copy.get({ read: async () => () => "newest", waitUntil })).toBe("new");
  });

  it("takes nothing of a read whose time is over", async () => {
    const copy = new SharedCopy<string>({ ...AGES, deadlineMs: 20 });
    const slow = Promise.withResolvers<() => string>();
    const late = vi.fn<() => string>(() => "late");
    const read = () => slow.promise;
    expect(await copy.get({ read, waitUntil: () => undefined })).toBeUndefined();
    slow.resolve(late);
    await slow.promise;
    expect(late).not.toHaveBeenCalled();
  });

  it("takes nothing of a read that one that began later has overtaken", async () => {
    const copy = new SharedCopy<string>(AGES);
    const waitUntil = () => undefined;
    const slow = Promise.withResolvers<() => string>();
    const earlier = vi.fn<() => string>(() => "earlier");
    const first = copy.get({ read: () => slow.promise, waitUntil });
    expect(await copy.get({ read: async () => () => "later", waitUntil })).toBe("later");
    slow.resolve(earlier);
    expect(await first).toBe("later");
    expect(earlier).not.toHaveBeenCalled();
  });
});
