// A pool that lives: samples, requests, ejections, endpoints that come and go, and what was decided on
// the way, as it is read back from its records.

import fc from "fast-check";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import {
  parseReplayable,
  type ReplayableAttempt,
} from "../../../src/scheduler/decisions/replay-document.ts";
import { type EndpointTable, ENDPOINTS_MAX } from "../../../src/scheduler/model/endpoint-table.ts";
import { EXAMPLE } from "../../conformance/contexts.ts";
import { inferenceRequest, NOW_MS, STALE_AFTER_MS } from "./pick-context.ts";
import { promptKeys, type TestPool } from "./pool.ts";
import { recordPick, type RecordedOptions } from "./recorded.ts";

/** A record after its trip to a file and back. */
export function recordedAttempt(
  pool: TestPool,
  prompt: string,
  options: RecordedOptions = {},
): ReplayableAttempt {
  const text = JSON.stringify(explain("pool-a", [recordPick(pool, prompt, options)!]));
  const parsed = parseReplayable(JSON.parse(text));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value.attempts[0]!;
}

export const PROMPTS = ["hi", "a shared beginning ".repeat(60), "another one ".repeat(200)];

export interface Event {
  readonly kind: "sample" | "send" | "eject" | "leave" | "join" | "pick";
  readonly slot: number;
  readonly load: number;
  readonly prompt: number;
  readonly ageMs: number;
  readonly seed: number;
}
export const anyEvent: fc.Arbitrary<Event> = fc.record({
  kind: fc.constantFrom("sample", "sample", "send", "send", "eject", "leave", "join", "pick"),
  slot: fc.nat(99),
  load: fc.nat(6),
  prompt: fc.nat(PROMPTS.length - 1),
  ageMs: fc.constantFrom(0, 0.25, STALE_AFTER_MS, STALE_AFTER_MS + 1),
  seed: fc.nat(0xffff_ffff),
});

const ROLES = ["decode", "prefill", "encode"];
const HOSTS = 3;

/** Stages, revisions and hosts, so that whatever reads them finds some of each. */
export function labelsOf(n: number): Record<string, string> {
  return {
    [EXAMPLE.label]: n % 2 === 0 ? "a" : "b",
    "llm-d.ai/role": ROLES[n % ROLES.length]!,
    "kubernetes.io/hostname": `host-${n % HOSTS}`,
    "disaggregatedset.x-k8s.io/revision": n % 2 === 0 ? "1" : "2",
  };
}

/** Every second endpoint, at least one. */
function subsetOf(table: EndpointTable): string[] {
  const slots = table.slots();
  return [...slots].filter((_, n) => n % 2 === 0).map((slot) => table.endpoint(slot)!.address);
}

/** By slot; two of three, others for each seed. */
function sparedBy(seed: number): Uint8Array {
  return Uint8Array.from({ length: ENDPOINTS_MAX }, (_, slot) => ((seed >>> 3) + slot) % 3 && 1);
}

/** As TestPool.send, but a configuration may refuse. */
function trySend(pool: TestPool, prompt: string): void {
  const picked = pool.pick(prompt);
  if (!picked.ok) return;
  const slot = picked.slots[0]!;
  pool.table.dispatched(slot, 100, 0);
  pool.prefix.learn(promptKeys(prompt), slot, 0);
}

/** Lets the pool live, and returns what it decided on the way. */
export function live(pool: TestPool, events: readonly Event[]): ReplayableAttempt[] {
  const attempts: ReplayableAttempt[] = [];
  const { table } = pool;
  table.defineScalars([EXAMPLE.attribute]);
  for (const slot of table.slots()) table.add({ ...table.endpoint(slot)!, labels: labelsOf(slot) });
  for (const [n, { kind, slot, load, prompt, ageMs, seed }] of events.entries()) {
    const at = slot % Math.max(1, table.columns.slotCount);
    const isThere = table.endpoint(at) !== undefined;
    const text = PROMPTS[prompt]!;
    if (kind === "sample" && isThere) {
      const sample = { waiting: load, running: load * 2, kvUsage: load / 7, kvBlocks: 1_000 };
      const scalars = new Map([[EXAMPLE.attribute, load * 100]]);
      table.applySample(at, { ...sample, scalars }, NOW_MS - ageMs);
      const active = load > 3 ? ["model-a", "other"] : ["other"];
      table.applyAdapters(at, { active, waiting: [], maxActive: 2 });
    } else if (kind === "send" && table.size > 0) {
      trySend(pool, text);
    } else if (kind === "eject" && isThere) {
      table.eject(at, NOW_MS + load - 2);
    } else if (kind === "leave" && isThere) {
      pool.prefix.removeEndpoint(at);
      pool.picker.onEndpointRemoved(at);
      table.remove(at);
    } else if (kind === "join") {
      const address = `10.9.9.${n}:80`;
      table.add({ id: `default/n${n}`, address, engine: "vllm", labels: labelsOf(n) });
    } else if (table.size > 1) {
      const exclude = load > 4 && table.size > 1 ? [at] : [];
      const request = inferenceRequest({
        keys: promptKeys(text),
        // Admitters turn away only what may be shed.
        priority: load > 3 ? -1 : 0,
        headers: { [EXAMPLE.header]: load > 3 ? "a" : btoa("default/e0") },
        media: { hashes: Uint32Array.of(load, 1), tokens: Uint32Array.of(100) },
        ...(load === 1 ? { subset: subsetOf(table) } : {}),
        ...(load > 2 ? { ttftSloMs: load * 10, tpotSloMs: 5 } : {}),
      });
      // As a pick at the edge does.
      const spared = seed % 2 === 0 ? undefined : sparedBy(seed);
      attempts.push(recordedAttempt(pool, text, { seed, exclude, request, spared }));
    }
  }
  return attempts;
}
