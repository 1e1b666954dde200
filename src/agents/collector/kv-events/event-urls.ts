// Where an endpoint publishes its KV events: as its labels say, else by its ranks' ports.
//
//   labels   fairlead/kv-events-url    tcp://10.0.0.7:5557,tcp://10.0.0.7:5558   one a rank
//            fairlead/kv-replay-url    the same for replays; none where absent
//            fairlead/kv-events-ranks  data-parallel ranks behind the endpoint, 1 if absent
//            fairlead/kv-events-rank   number of its first rank, from its port if absent
//   default  tcp://HOST:(events port + rank), replays at (replay port + rank)
//
// vLLM adds its global rank to the port, llm-d's router the rank in the pod. Where these differ, only
// labels help. One address is never taken for two publishers, nor for one's events and another's replays
// (ports closer together than there are ranks): none of those endpoints is followed then.

import { KV_EVENT_LIMITS } from "../../../scheduler/kv/residency/kv-event.ts";
import type { EndpointRecord } from "../../protocol/messages.ts";

export const KV_EVENT_LABELS = {
  eventsUrl: "fairlead/kv-events-url",
  replayUrl: "fairlead/kv-replay-url",
  ranks: "fairlead/kv-events-ranks",
  rank: "fairlead/kv-events-rank",
} as const;
const RANK_MISTAKE = `label ${KV_EVENT_LABELS.rank} must be 0 to ${KV_EVENT_LIMITS.ranksMax}`;
/** Mistakes of one membership that are told. */
export const URL_MISTAKES_MAX = 20;
const PORT_MAX = 65_535;
const EVENTS_URL = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/;

/** Ports of rank 0. */
export interface KvEventPorts {
  readonly events: number;
  /** 0: engines offer no replay. */
  readonly replay: number;
  /** Serving port of rank 0, where each rank is an endpoint of its own; 0: each is rank 0. */
  readonly serving: number;
}

/** One publisher to follow. */
export interface KvEventTarget {
  readonly endpoint: string;
  /** Position among the endpoint's publishers. */
  readonly rank: number;
  readonly eventsUrl: string;
  readonly replayUrl: string | null;
}

export interface KvEventTargets {
  readonly targets: readonly KvEventTarget[];
  /** Sentences for people; the endpoints they name are not followed. */
  readonly mistakes: readonly string[];
}

/** Whether ZeroMQ can connect to it. */
export function isEventsUrl(url: string): boolean {
  const match = EVENTS_URL.exec(url);
  return match !== null && Number(match[2]) >= 1 && Number(match[2]) <= PORT_MAX;
}

/** What to follow of a pool's endpoints. */
export function targetsOf(
  endpoints: readonly EndpointRecord[],
  ports: KvEventPorts,
): KvEventTargets {
  const mistakes: string[] = [];
  const targets: KvEventTarget[] = [];
  for (const endpoint of endpoints) {
    const found = endpointTargets(endpoint, ports);
    if (typeof found === "string") mistakes.push(`${endpoint.id}: ${found}`);
    else targets.push(...found);
  }
  const uses = targets.flatMap(({ endpoint, eventsUrl, replayUrl }) => [
    { endpoint, url: eventsUrl, what: "events" },
    ...(replayUrl === null ? [] : [{ endpoint, url: replayUrl, what: "replays" }]),
  ]);
  const shared = new Set<string>();
  for (const [url, users] of Map.groupBy(uses, (use) => use.url)) {
    if (users.length === 1) continue;
    const found = users.map(({ what, endpoint }) => `${what} of ${endpoint}`).join(" and ");
    mistakes.push(`${url} would be ${found}: say with labels which it is`);
    for (const { endpoint } of users) shared.add(endpoint);
  }
  return {
    targets: targets.filter((target) => !shared.has(target.endpoint)),
    mistakes: mistakes.slice(0, URL_MISTAKES_MAX),
  };
}

/**
 * Where an endpoint answers replays, by the rank that its batches say, as its label has it; or what is wrong
 * with its labels. Of publishers that dial nothing is derived from ports.
 */
export function replayUrlsOf({ labels }: EndpointRecord): ReadonlyMap<number, string> | string {
  const urls = labels[KV_EVENT_LABELS.replayUrl]?.split(",") ?? [];
  if (urls.length > KV_EVENT_LIMITS.ranksPerEndpointMax)
    return `label ${KV_EVENT_LABELS.replayUrl} has more than ${KV_EVENT_LIMITS.ranksPerEndpointMax} URLs`;
  const first = readNumber(labels[KV_EVENT_LABELS.rank], 0);
  if (first === undefined) return RANK_MISTAKE;
  const bad = urls.find((url) => !isEventsUrl(url));
  if (bad !== undefined) return `"${bad}" is not tcp://HOST:PORT`;
  return new Map(urls.map((url, i) => [first + i, url]));
}

/** The endpoint's publishers, or what is wrong with its labels. */
function endpointTargets(endpoint: EndpointRecord, ports: KvEventPorts): KvEventTarget[] | string {
  const { labels } = endpoint;
  const explicit = labels[KV_EVENT_LABELS.eventsUrl]?.split(",");
  const explicitReplay = labels[KV_EVENT_LABELS.replayUrl]?.split(",");
  const ranks = readNumber(labels[KV_EVENT_LABELS.ranks], explicit?.length ?? 1);
  if (ranks === undefined || ranks < 1 || ranks > KV_EVENT_LIMITS.ranksPerEndpointMax) {
    return `label ${KV_EVENT_LABELS.ranks} must be 1 to ${KV_EVENT_LIMITS.ranksPerEndpointMax}`;
  }
  const host = endpoint.address.slice(0, endpoint.address.lastIndexOf(":"));
  const first = readNumber(labels[KV_EVENT_LABELS.rank], rankOfPort(endpoint.address, ports));
  if (first === undefined) {
    return RANK_MISTAKE;
  }
  const derive = (port: number) =>
    port === 0
      ? undefined
      : Array.from({ length: ranks }, (_, rank) => `tcp://${host}:${port + first + rank}`);
  const eventsUrls = explicit ?? derive(ports.events)!;
  // Of explicit events nothing is derived: the ports may be anywhere.
  const replayUrls = explicitReplay ?? (explicit === undefined ? derive(ports.replay) : undefined);
  for (const urls of [eventsUrls, replayUrls ?? eventsUrls]) {
    if (urls.length !== ranks) return `${urls.length} URLs for ${ranks} ranks`;
    const bad = urls.find((url) => !isEventsUrl(url));
    if (bad !== undefined) return `"${bad}" is not tcp://HOST:PORT`;
  }
  return eventsUrls.map((eventsUrl, rank) => ({
    endpoint: endpoint.id,
    rank,
    eventsUrl,
    replayUrl: replayUrls?.[rank] ?? null,
  }));
}

/** Ports below the first serving port, or far above it, belong to no numbered rank. */
function rankOfPort(address: string, ports: KvEventPorts): number {
  if (ports.serving === 0) return 0;
  const rank = Number(address.slice(address.lastIndexOf(":") + 1)) - ports.serving;
  return rank >= 0 && rank < KV_EVENT_LIMITS.ranksMax ? rank : 0;
}

function readNumber(text: string | undefined, fallback: number): number | undefined {
  const value = text === undefined ? fallback : Number(text.trim() === "" ? Number.NaN : text);
  return Number.isInteger(value) && value >= 0 && value <= KV_EVENT_LIMITS.ranksMax
    ? value
    : undefined;
}
