// What waits in the objects of one pool, as one queue.
//
// Each object has its part of the configuration's limits, so both what waits and what may are added up.

import { jainIndex } from "../../scheduler/flow-control/flow-counts.ts";
import {
  type BandSnapshot,
  type FlowSnapshot,
  FLOWS_TOLD_MAX,
  OTHER_FLOWS,
  type QueueRoom,
  type QueueSize,
  together,
} from "../../scheduler/flow-control/snapshot.ts";
import type { DropReason } from "../../scheduler/outcome.ts";
import type { QueueState } from "../../durable/state.ts";

/** `states`: at least one. One alone is given back as it is. */
export function mergeQueues(states: readonly QueueState[]): QueueState {
  const [first] = states;
  if (states.length === 1) return first!;
  const bands = Map.groupBy(
    states.flatMap((each) => each.bands),
    ({ priority }) => priority,
  );
  const detector = states.find((each) => each.detector !== undefined)?.detector;
  const stages = mergeStages(states.flatMap((each) => each.stages ?? []));
  const revoked = (count: keyof QueueState["revocations"]) =>
    sum(states, ({ revocations }) => revocations[count]);
  return {
    // Each has a part of the endpoints' room.
    saturation: mean(states.map(({ saturation }) => saturation)),
    hasEndpoints: states.some(({ hasEndpoints }) => hasEndpoints),
    waiting: addSizes(states.map(({ waiting }) => waiting)),
    limits: addRooms(states.map(({ limits }) => limits)),
    inFlight: sum(states, ({ inFlight }) => inFlight),
    revocations: {
      issued: revoked("issued"),
      ended: revoked("ended"),
      spared: revoked("spared"),
      untold: revoked("untold"),
    },
    bands: [...bands.values()].map(mergeBands).toSorted((a, b) => b.priority - a.priority),
    openWaits: sum(states, ({ openWaits }) => openWaits),
    places: sum(states, ({ places }) => places),
    staleEndpoints: Math.max(...states.map(({ staleEndpoints }) => staleEndpoints)),
    ...(detector === undefined ? {} : { detector }),
    ...(stages === undefined ? {} : { stages }),
  };
}

function mergeBands(bands: readonly BandSnapshot[]): BandSnapshot {
  const ceilings = bands.flatMap(({ ceiling }) => ceiling ?? []);
  const drains = bands.flatMap(({ drainPerSecond }) => drainPerSecond ?? []);
  const flows = mergeFlows(bands.flatMap((band) => band.flows));
  return {
    priority: bands[0]!.priority,
    ceiling: ceilings.length === 0 ? null : Math.min(...ceilings),
    waiting: addSizes(bands.map(({ waiting }) => waiting)),
    limits: addRooms(bands.map(({ limits }) => limits)),
    oldestWaitMs: Math.max(...bands.map(({ oldestWaitMs }) => oldestWaitMs)),
    enqueued: sum(bands, ({ enqueued }) => enqueued),
    dispatched: sum(bands, ({ dispatched }) => dispatched),
    waitSumMs: sum(bands, ({ waitSumMs }) => waitSumMs),
    waitMaxMs: Math.max(...bands.map(({ waitMaxMs }) => waitMaxMs)),
    dropped: addDrops(bands.map(({ dropped }) => dropped)),
    drainPerSecond: drains.length === 0 ? null : sum(drains, (each) => each),
    jainIndex: fairnessOf(bands, flows),
    flowCount: Math.max(flows.length, ...bands.map(({ flowCount }) => flowCount)),
    flows: toldFlows(flows),
  };
}

/** Of all flows where all are told, else that of the object where it is the least. */
function fairnessOf(bands: readonly BandSnapshot[], flows: readonly FlowSnapshot[]): number {
  if (flows.some(({ fairnessId }) => fairnessId === OTHER_FLOWS))
    return Math.min(...bands.map((band) => band.jainIndex));
  const waiting = flows.filter((flow) => flow.waiting > 0);
  return jainIndex(waiting.map(({ tokensLately, weight }) => tokensLately / weight));
}

function mergeFlows(flows: readonly FlowSnapshot[]): FlowSnapshot[] {
  const byId = Map.groupBy(flows, ({ fairnessId }) => fairnessId);
  return [...byId.values()].map((parts) => ({
    ...together(parts),
    fairnessId: parts[0]!.fairnessId,
    // The same in each object, but for the others, which are others in each.
    weight:
      parts[0]!.fairnessId === OTHER_FLOWS
        ? sum(parts, ({ weight }) => weight)
        : Math.max(...parts.map(({ weight }) => weight)),
  }));
}

/** As an object tells them: those that matter most, and the rest as one, which comes last. */
function toldFlows(flows: readonly FlowSnapshot[]): FlowSnapshot[] {
  const named = flows
    .filter(({ fairnessId }) => fairnessId !== OTHER_FLOWS)
    .toSorted((a, b) => b.waiting - a.waiting || b.tokensLately - a.tokensLately);
  const others = flows.filter(({ fairnessId }) => fairnessId === OTHER_FLOWS);
  const rest = [...named.slice(FLOWS_TOLD_MAX), ...others];
  const told = named.slice(0, FLOWS_TOLD_MAX);
  return rest.length === 0 ? told : [...told, together(rest)];
}

function mergeStages(
  each: readonly NonNullable<QueueState["stages"]>[],
): QueueState["stages"] | undefined {
  if (each.length === 0) return undefined;
  const prefill = each.flatMap((stages) => stages.prefill ?? []);
  const decode = each.flatMap((stages) => stages.decode ?? []);
  return {
    ...(prefill.length === 0 ? {} : { prefill: mean(prefill) }),
    ...(decode.length === 0 ? {} : { decode: mean(decode) }),
  };
}

function addSizes(sizes: readonly QueueSize[]): QueueSize {
  return {
    requests: sum(sizes, ({ requests }) => requests),
    bytes: sum(sizes, ({ bytes }) => bytes),
    tokens: sum(sizes, ({ tokens }) => tokens),
  };
}

/** Without a limit in one of them there is none. */
function addRooms(rooms: readonly QueueRoom[]): QueueRoom {
  const added: { -readonly [Member in keyof QueueRoom]: number } = {};
  for (const member of ["requests", "bytes", "tokens"] as const) {
    if (rooms.every((room) => room[member] !== undefined))
      added[member] = sum(rooms, (room) => room[member]!);
  }
  return added;
}

function addDrops(each: readonly BandSnapshot["dropped"][]): BandSnapshot["dropped"] {
  const added: Partial<Record<DropReason, number>> = {};
  for (const dropped of each)
    for (const [reason, count] of Object.entries(dropped) as [DropReason, number][])
      added[reason] = (added[reason] ?? 0) + count;
  return added;
}

function mean(values: readonly number[]): number {
  return sum(values, (value) => value) / values.length;
}

function sum<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
