// A pool, an isolate with a replica of it that decides alone, and its picks as they are recorded and told.

import fc from "fast-check";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import { RecordPacker, unpackRecord } from "../../../src/scheduler/decisions/packed-record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { PoolReplica } from "../../../src/scheduler/edge/pool-replica.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { inferenceRequest } from "./pick-context.ts";
import { FACTS, pathOf, PoolObject } from "../edge/pool-object.ts";

const SCHEDULER = schedulerConfigSchema.parse({});

export const anyStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("sample", "learn", "leave", "join", "snapshot", "wait", "pick", "pick"),
  slot: fc.nat(79),
  load: fc.nat(6),
  root: fc.nat(3),
  seed: fc.nat(0xffff_ffff),
});

interface Step {
  readonly kind: string;
  readonly slot: number;
  readonly load: number;
  readonly root: number;
  readonly seed: number;
}

/** An object, an isolate with a replica of it, and others that send requests meanwhile. */
export class ReplicaLife {
  readonly object: PoolObject;
  readonly replica = new PoolReplica({ seed: 1 });
  readonly #picker = new EndpointPicker(SCHEDULER);
  readonly #packer = new RecordPacker();
  readonly #recorder = new DecisionRecorder(this.#packer);
  #joined: number;

  constructor(endpoints: number) {
    this.object = new PoolObject(endpoints);
    this.#joined = endpoints;
    this.object.sampleAll();
    this.snapshot();
  }

  snapshot(): void {
    const { object, replica } = this;
    const rate = { requestsPerS: 400, promptTokens: 900, uncachedTokens: 500, kvTokens: 900 };
    const snapshot = object.source.take(replica.known, FACTS, true);
    const { nowMs } = object;
    const lane = { index: 1, count: 3 };
    replica.apply(
      { ...snapshot, rate, lane },
      { asOfMs: nowMs, nowMs, shown: replica.lastDispatch },
    );
  }

  step({ kind, slot, load, root, seed }: Step) {
    const { object } = this;
    const at = slot % Math.max(1, object.table.columns.slotCount);
    const isThere = object.table.endpoint(at) !== undefined;
    if (kind === "sample" && isThere)
      object.sample(at, { waiting: load, running: 2 * load, kvUsage: load / 6 });
    else if (kind === "learn" && isThere) object.tree.insert(pathOf(root, 12), at);
    else if (kind === "leave" && isThere && object.table.size > 2) object.remove(at);
    else if (kind === "join") object.add(this.#joined++, { rack: String(load) });
    else if (kind === "wait") object.nowMs += 20 * load;
    else if (kind === "snapshot") this.snapshot();
    else if (kind === "pick") return this.#pick(seed, root, load);
    return undefined;
  }

  /** As it comes to an operator; undefined where nobody could be picked. */
  #pick(seed: number, root: number, load: number) {
    const { replica, object } = this;
    const request = inferenceRequest({ keys: pathOf(root, 12), promptTokens: 800 });
    const exclude = load === 6 ? ["10.0.0.1:8000"] : [];
    const { nowMs } = object;
    const picked = replica.pick(this.#picker, request, { nowMs, seed, exclude }, this.#recorder);
    if (!picked.ok) return undefined;
    const excluded = exclude.map((address) => replica.slotOfAddress(address));
    const facts = { attempt: 1, configVersion: 1, scheduler: SCHEDULER, seed, exclude: excluded };
    this.#recorder.finish(replica.directory, facts);
    const chosen = Array.from(picked.slots, (slot) => replica.addressOf(slot)!);
    replica.learn(request.keys, picked.slots[0]!, nowMs);
    replica.dispatched(picked.slots[0]!, 100, nowMs, { promptTokens: 800, uncachedTokens: 100 });
    const record = unpackRecord(this.#packer.take()!, request.requestId, SCHEDULER)!;
    const document = JSON.parse(JSON.stringify(explain("pool-a", [record])));
    const parsed = parseReplayable(document);
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    return { chosen, attempt: parsed.value.attempts[0]! };
  }
}
