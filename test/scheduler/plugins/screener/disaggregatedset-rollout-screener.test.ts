import { describe, expect, it } from "vitest";
import type { Screener } from "../../../../src/scheduler/plugin.ts";
import { REVISIONS_MAX } from "../../../../src/scheduler/plugins/screener/disaggregatedset-rollout-screener.ts";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import {
  type EndpointRow,
  pickContext,
  type PickContextOptions,
} from "../../support/pick-context.ts";
import { accepts, createPlugin } from "../../support/plugins.ts";

const TYPE = "disaggregatedset-rollout-screener";
const REVISION = "disaggregatedset.x-k8s.io/revision";
const ROLE = "disaggregatedset.x-k8s.io/role";
const SELECTOR = {
  name: "revision",
  headerName: "X-Disagg-Revision",
  labelKey: REVISION,
  mode: "strict",
};

function params(mode: string, more: object = {}): object {
  return {
    scope: { labelSelector: "app=vllm" },
    revisionGating: { mode, requireRoles: { values: ["prefill", "decode"] } },
    ...more,
  };
}

function rows(
  revision: string,
  roles: { prefill?: number; decode?: number },
  app = "vllm",
): EndpointRow[] {
  return Object.entries(roles).flatMap(([role, count]) =>
    Array.from({ length: count }, () => ({ labels: { app, [REVISION]: revision, [ROLE]: role } })),
  );
}

function kept(
  of: readonly EndpointRow[],
  given: object,
  options: PickContextOptions = {},
): number[] {
  const context = pickContext(of, options);
  const keep = new Uint8Array(of.length).fill(1);
  (createPlugin(TYPE, given) as Screener).screen(context, keep);
  return [...context.candidates].filter((_, i) => keep[i] === 1);
}

const A = rows("A", { prefill: 2, decode: 9 });
const B = rows("B", { prefill: 1, decode: 1 });
const SLOTS_A = A.map((_, slot) => slot);
const SLOTS_B = B.map((_, i) => A.length + i);
const RUNS = 2_000;

/** How often each revision is drawn. */
function sharesOf(mode: string, of = [...A, ...B]): number {
  let drawnA = 0;
  for (let seed = 0; seed < RUNS; seed++) if (kept(of, params(mode), { seed })[0] === 0) drawnA++;
  return drawnA;
}

describe("disaggregatedset-rollout-screener", () => {
  it("keeps all endpoints of one revision, and no other", () => {
    for (let seed = 0; seed < 50; seed++) {
      const slots = kept([...A, ...B], params("sum"), { seed });
      expect([SLOTS_A, SLOTS_B]).toContainEqual(slots);
    }
  });

  it.for([
    { mode: "max-role", want: 9 / 10 },
    { mode: "sum", want: 11 / 13 },
  ])("draws by weight: $mode", ({ mode, want }) => {
    const tolerance = 5 * Math.sqrt(RUNS * want * (1 - want));
    expect(Math.abs(sharesOf(mode) - RUNS * want)).toBeLessThan(tolerance);
  });

  it("takes the first listed role where roles are equally many", () => {
    const of = [...rows("A", { prefill: 3, decode: 1 }), ...rows("B", { prefill: 1, decode: 3 })];
    const want = 3 / 4;
    const tolerance = 5 * Math.sqrt(RUNS * want * (1 - want));
    expect(Math.abs(sharesOf("max-role", of) - RUNS * want)).toBeLessThan(tolerance);
  });

  it.for([
    { name: "a revision without a role", of: [...A, ...rows("B", { decode: 9 })], want: SLOTS_A },
    {
      name: "an endpoint without a revision",
      of: [...A, { labels: { app: "vllm" } }],
      want: SLOTS_A,
    },
    {
      name: "a revision out of the scope",
      of: [...A, ...rows("B", { prefill: 1, decode: 1 }, "x")],
      want: SLOTS_A,
    },
    { name: "everybody, where no revision is whole", of: rows("A", { decode: 3 }), want: [] },
  ])("keeps out $name", ({ of, want }) => {
    for (let seed = 0; seed < 20; seed++) expect(kept(of, params("sum"), { seed })).toEqual(want);
  });

  it("counts the whole pool, and draws among the candidates' revisions", () => {
    // Only a decode endpoint of B may be chosen: B is whole all the same, and A no choice.
    const candidates = [SLOTS_B[1]!];
    for (let seed = 0; seed < 20; seed++)
      expect(kept([...A, ...B], params("sum"), { seed, candidates })).toEqual(candidates);
  });

  it("holds a request to the value of a strict header", () => {
    const given = params("sum", { headerSelectors: [SELECTOR] });
    const pinned = (value: string) =>
      kept([...A, ...B], given, { request: { headers: { "x-disagg-revision": value } } });
    expect(pinned("B")).toEqual(SLOTS_B);
    expect(pinned("C")).toEqual([]);
    const incomplete = [...A, ...rows("B", { decode: 2 })];
    const headers = { "x-disagg-revision": "B" };
    expect(kept(incomplete, given, { request: { headers } })).toEqual([]);
  });

  it("prefers a value where somebody has it, and keeps all where nobody has", () => {
    const selector = { ...SELECTOR, mode: "prefer" };
    const preferring = (mode: string, value: string, seed = 1) =>
      kept(
        [...A, ...B],
        { ...params(mode), headerSelectors: [selector] },
        {
          request: { headers: { "x-disagg-revision": value } },
          seed,
        },
      );
    const withoutGating = { headerSelectors: [selector], revisionGating: { mode: "disabled" } };
    const all = kept([...A, ...B], params("sum", withoutGating), {
      request: { headers: { "x-disagg-revision": "C" } },
    });
    expect(all).toEqual([...SLOTS_A, ...SLOTS_B]);
    const drawn = new Set<number>();
    for (let seed = 0; seed < 50; seed++) {
      expect(preferring("sum", "B", seed)).toEqual(SLOTS_B);
      const slots = preferring("sum", "C", seed);
      expect([SLOTS_A, SLOTS_B]).toContainEqual(slots);
      drawn.add(slots[0]!);
    }
    expect(drawn.size).toBe(2);
  });

  it("prefers among what strict headers and whole revisions leave, whatever their order", () => {
    const zone = { name: "zone", headerName: "x-zone", labelKey: "zone", mode: "prefer" };
    const given = params("sum", { headerSelectors: [zone, SELECTOR] });
    const headers = { "x-disagg-revision": "A", "x-zone": "z2" };
    const inZone = (of: readonly EndpointRow[], name: string) =>
      of.map(({ labels }) => ({ labels: { ...labels, zone: name } }));
    const of = [...inZone(A, "z1"), ...inZone(B, "z2")];
    expect(kept(of, given, { request: { headers } })).toEqual(SLOTS_A);
    const incomplete = [...A, ...inZone(rows("B", { decode: 1 }), "z2")];
    expect(kept(incomplete, given, { request: { headers: { "x-zone": "z2" } } })).toEqual(SLOTS_A);
  });

  it.for(["strict", "prefer"])(
    "keeps one revision where a %s header is of another label",
    (mode) => {
      const zone = { name: "zone", headerName: "x-zone", labelKey: "zone", mode };
      const given = params("sum", { headerSelectors: [SELECTOR, zone] });
      const of = [...A, ...B].map(({ labels }) => ({ labels: { ...labels, zone: "z1" } }));
      const drawn = new Set<number>();
      for (let seed = 0; seed < 50; seed++) {
        const slots = kept(of, given, { seed, request: { headers: { "x-zone": "z1" } } });
        expect([SLOTS_A, SLOTS_B]).toContainEqual(slots);
        drawn.add(slots[0]!);
      }
      expect(drawn.size).toBe(2);
    },
  );

  it("draws a revision that has an endpoint of what was asked for", () => {
    const zone = { name: "zone", headerName: "x-zone", labelKey: "zone", mode: "strict" };
    const given = params("sum", { headerSelectors: [zone] });
    const of = [...A, ...B.map(({ labels }) => ({ labels: { ...labels, zone: "z1" } }))];
    for (let seed = 0; seed < 20; seed++)
      expect(kept(of, given, { seed, request: { headers: { "x-zone": "z1" } } })).toEqual(SLOTS_B);
  });

  it("keeps all when gating is disabled, but for strict headers", () => {
    const gating = { revisionGating: { mode: "disabled" }, headerSelectors: [SELECTOR] };
    const given = params("disabled", gating);
    expect(kept([...A, ...B], given)).toEqual([...SLOTS_A, ...SLOTS_B]);
    const headers = { "x-disagg-revision": "B" };
    expect(kept([...A, ...B], given, { request: { headers } })).toEqual(SLOTS_B);
  });

  it("tells clients the labels of whoever served", () => {
    const slice = { name: "slice", headerName: "x-slice", labelKey: "slice", mode: "prefer" };
    const plugin = pluginOf(TYPE);
    const given = params("sum", { headerSelectors: [SELECTOR, slice] });
    const { responseHeaders } = createPlugin(TYPE, given);
    const endpoint = pickContext(B).pool.endpoint(0)!;
    expect(responseHeaders!.map(({ name, profile }) => [name, profile])).toEqual([
      ["x-disagg-revision", null],
      ["x-slice", null],
    ]);
    expect(responseHeaders!.map((header) => header.valueOf(endpoint))).toEqual(["B", ""]);
    expect(plugin.requestHeaders!(plugin.params.parse(given))).toEqual([
      "x-disagg-revision",
      "x-slice",
    ]);
  });

  it("tells so many revisions apart", () => {
    const of = Array.from({ length: REVISIONS_MAX + 1 }, (_, n) =>
      rows(`r${n}`, { prefill: 1, decode: 1 }),
    ).flat();
    const last = 2 * REVISIONS_MAX;
    expect(kept(of, params("sum"), { candidates: [last - 1] })).toEqual([last - 1]);
    expect(kept(of, params("sum"), { candidates: [last] })).toEqual([]);
  });

  it.for([
    { scope: {} },
    { scope: { labelSelector: "a in b" } },
    { revisionGating: { mode: "sum" } },
    { revisionGating: { mode: "sum", requireRoles: { values: [] } } },
    { revisionGating: { mode: "sum", requireRoles: { values: ["a", "a"] } } },
    { revisionGating: { mode: "most", requireRoles: { values: ["a"] } } },
    {
      headerSelectors: [SELECTOR, { ...SELECTOR, name: "again", headerName: "x-disagg-revision" }],
    },
    { headerSelectors: [SELECTOR, { ...SELECTOR, headerName: "x-other" }] },
    { headerSelectors: [{ ...SELECTOR, mode: "soft" }] },
    { headerSelectors: [{ ...SELECTOR, labelKey: "" }] },
  ])("refuses %j", (mistake) => {
    expect(accepts(TYPE, { ...params("sum"), ...mistake })).toBe(false);
  });

  it("needs its parameters", () => {
    expect(accepts(TYPE, {})).toBe(false);
  });
});
