// What the objects of one pool say of themselves, as one.
//
// Every object knows every endpoint, from sessions of its own with the collectors: what an engine says of
// itself is taken from whoever heard it last. What an object knows alone, its tickets and the part of the
// prompts that it holds, is added up.

import type {
  AgentState,
  CacheAccuracy,
  EndpointState,
  Knowledge,
  PoolState,
  ResidencyState,
  ShadowState,
} from "../../durable/state.ts";

/** `states`: at least one. One alone is given back as it is. */
export function mergeStates(states: readonly PoolState[]): PoolState {
  const [first] = states;
  if (states.length === 1) return first!;
  const shadow = mergeShadows(defined(states, ({ shadow: each }) => each));
  const residency = mergeResidency(defined(states, ({ residency: each }) => each));
  const [clusterResources] = defined(states, ({ clusterResources: each }) => each);
  return {
    pool: first!.pool,
    isConfigured: states.every(({ isConfigured }) => isConfigured),
    // Of who knows the least.
    configVersion: Math.min(...states.map(({ configVersion }) => configVersion)),
    objectEpoch: states.map(({ objectEpoch }) => objectEpoch).join(","),
    staleAfterMs: Math.max(...states.map(({ staleAfterMs }) => staleAfterMs)),
    endpoints: mergeEndpoints(states.map(({ endpoints }) => endpoints)),
    agents: mergeAgents(states.flatMap(({ agents }) => agents)),
    tickets: {
      open: sum(states, ({ tickets }) => tickets.open),
      unsettled: sum(states, ({ tickets }) => tickets.unsettled),
    },
    ...(shadow === undefined ? {} : { shadow }),
    ...(residency === undefined ? {} : { residency }),
    ...(clusterResources === undefined ? {} : { clusterResources }),
  };
}

/** In the order of the first object that has them. */
function mergeEndpoints(lists: readonly (readonly EndpointState[])[]): EndpointState[] {
  const byId = Map.groupBy(lists.flat(), ({ id }) => id);
  return [...byId.values()].map(mergeEndpoint);
}

function mergeEndpoint(states: readonly EndpointState[]): EndpointState {
  const age = ({ sampleAgeMs }: EndpointState) => sampleAgeMs ?? Infinity;
  const youngest = states.reduce((best, each) => (age(each) < age(best) ? each : best));
  const ejectedMs = Math.max(...states.map((each) => each.ejectedMs ?? 0));
  const knowledge = mergeKnowledge(defined(states, (each) => each.knowledge));
  const blocks = defined(states, (each) => each.knownBlocks);
  const cacheAccuracy = mergeAccuracy(defined(states, (each) => each.cacheAccuracy));
  return {
    ...youngest,
    ...(ejectedMs === 0 ? {} : { ejectedMs }),
    inFlightRequests: sum(states, (each) => each.inFlightRequests),
    inFlightTokens: sum(states, (each) => each.inFlightTokens),
    ...(knowledge === undefined ? {} : { knowledge }),
    ...(blocks.length === 0 ? {} : { knownBlocks: sum(blocks, (each) => each) }),
    ...(cacheAccuracy === undefined ? {} : { cacheAccuracy }),
  };
}

/** All that is known is only known where every object knows its part. */
function mergeKnowledge(each: readonly Knowledge[]): Knowledge | undefined {
  const [first] = each;
  if (each.every((one) => one === first)) return first;
  return each.includes("exact") || each.includes("partial") ? "partial" : "demoted";
}

function mergeAccuracy(each: readonly CacheAccuracy[]): CacheAccuracy | undefined {
  const compared = sum(each, (one) => one.compared);
  if (compared === 0) return each[0];
  return {
    compared,
    withinBlock: sum(each, (one) => one.withinBlock),
    meanErrorTokens: sum(each, (one) => one.meanErrorTokens * one.compared) / compared,
  };
}

/** Each once, as of its youngest session: it has been connected to all objects since then. */
function mergeAgents(agents: readonly AgentState[]): AgentState[] {
  const byName = Map.groupBy(agents, ({ agent, role }) => `${role} ${agent}`);
  return [...byName.values()].map((sessions) => ({
    ...sessions[0]!,
    connectedAtMs: Math.max(...sessions.map(({ connectedAtMs }) => connectedAtMs)),
  }));
}

function mergeResidency(each: readonly ResidencyState[]): ResidencyState | undefined {
  if (each.length === 0) return undefined;
  const demotedModels = Math.max(...each.map((one) => one.demotedModels ?? 0));
  return {
    blocks: sum(each, ({ blocks }) => blocks),
    pairs: sum(each, ({ pairs }) => pairs),
    bytes: sum(each, ({ bytes }) => bytes),
    shed: sum(each, ({ shed }) => shed),
    ...(demotedModels === 0 ? {} : { demotedModels }),
  };
}

function mergeShadows(each: readonly ShadowState[]): ShadowState | undefined {
  if (each.length === 0) return undefined;
  const failure = each.find((one) => one.failure !== undefined)?.failure;
  const total = (value: (one: ShadowState) => number) => sum(each, value);
  const meanTtft = (of: "real" | "shadow") => {
    const told = each.filter(({ meanPredictedTtftMs }) => meanPredictedTtftMs[of] !== null);
    const compared = sum(told, (one) => one.compared);
    if (compared === 0) return null;
    return sum(told, (one) => one.meanPredictedTtftMs[of]! * one.compared) / compared;
  };
  return {
    isRunning: each.every(({ isRunning }) => isRunning),
    ...(failure === undefined ? {} : { failure }),
    decisions: total(({ decisions }) => decisions),
    same: total(({ same }) => same),
    onlyShadowRefused: total(({ onlyShadowRefused }) => onlyShadowRefused),
    onlyShadowAccepted: total(({ onlyShadowAccepted }) => onlyShadowAccepted),
    compared: total(({ compared }) => compared),
    hitTokens: {
      real: total(({ hitTokens }) => hitTokens.real),
      shadow: total(({ hitTokens }) => hitTokens.shadow),
    },
    meanPredictedTtftMs: { real: meanTtft("real"), shadow: meanTtft("shadow") },
  };
}

function defined<Item, Value>(
  items: readonly Item[],
  value: (item: Item) => Value | undefined,
): Value[] {
  return items.flatMap((item) => value(item) ?? []);
}

function sum<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
