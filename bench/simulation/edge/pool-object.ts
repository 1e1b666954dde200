// One of a pool's objects: its table, its prefix tree, its ledger and its picker, all of them the real ones.
//
//   pick ──► gate ──► choice ──► ticket ──► answer
//   opened, closed  relays' reports          sampled  agents' metrics         stored, removed  their KV events
//
// Mirrors src/durable/{picks,pool}.ts, without storage and records.

import { type PrefixLearner } from "../../../src/durable/prefix/claims.ts";
import { Proposals } from "../../../src/durable/edge/proposals.ts";
import { ticketSpecOf } from "../../../src/durable/granted-ticket.ts";
import { TicketLedger } from "../../../src/durable/tickets/ledger.ts";
import {
  NO_USAGE,
  type Ticket,
  type TicketEnd,
  usageOf,
} from "../../../src/durable/tickets/ticket.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { EndpointPicker, type PickInput } from "../../../src/scheduler/endpoint-picker.ts";
import { saturationDetectorOf } from "../../../src/scheduler/flow-control/of-config.ts";
import { type PoolView, SaturationMeter } from "../../../src/scheduler/flow-control/saturation.ts";
import { passingOutlook, type QueueOutlook } from "../../../src/durable/queue/outlook.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import { PROPOSED_SLACK, sentSlack } from "../../../src/scheduler/edge/proposed-endpoint.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { type EndpointSample, EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import type { InferenceRequest } from "../../../src/scheduler/model/inference-request.ts";
import type { PrefixSources } from "../../../src/scheduler/plugin.ts";
import { ShardLane } from "../../../src/scheduler/shards/lane.ts";
import { Plugins } from "../../../src/scheduler/plugins.ts";
import type { Rng } from "../../../src/scheduler/support/rng.ts";
import type { EventQueue } from "../event-queue.ts";
import { Gate } from "../gate.ts";

/** A sample older than this is stale: three scrapes missed, and a second to get here. */
const STALE_AFTER_SCRAPES = 3;
const ONE_WAY_MS = 1_000;
/** Of every ticket: nobody gives one back here. */
const HOLDER = 1;

export interface PoolObjectOptions {
  readonly index: number;
  readonly epoch: string;
  readonly endpointCount: number;
  readonly scrapeIntervalMs: number;
  readonly config: SchedulerConfig;
  readonly queue: EventQueue;
  readonly rng: Rng;
}

interface AskedPick {
  readonly request: InferenceRequest;
  /** The slot where its isolate would have sent it. */
  readonly proposed: number | undefined;
}

/** Where a request is, by its ticket. */
interface At {
  readonly ticket: string;
  readonly attempt: number;
  readonly slot: number;
}

/** A request has its endpoints, or is refused. */
export type OnAnswer = (ticket: Ticket | undefined) => void;

export class PoolObject {
  readonly index: number;
  readonly table = new EndpointTable();
  /** What endpoints hold by their events, and what is on its way to them. */
  readonly tree = new PrefixTree();
  readonly ledger: TicketLedger;
  readonly gate: Gate;
  readonly staleAfterMs: number;
  /** Decisions that it has taken. */
  picked = 0;
  readonly #options: PoolObjectOptions;
  readonly #picker: EndpointPicker;
  readonly #proposals = new Proposals();
  /** See PoolShards.lane. */
  #isInLane: Uint8Array | undefined;
  readonly #meter: SaturationMeter;
  readonly #sources: PrefixSources = {
    approximate: (keys, matchedBlocks) => this.tree.match(keys, matchedBlocks),
  };

  constructor(options: PoolObjectOptions) {
    const { index, epoch, endpointCount, scrapeIntervalMs, config, queue } = options;
    this.#options = options;
    this.index = index;
    this.staleAfterMs = STALE_AFTER_SCRAPES * scrapeIntervalMs + ONE_WAY_MS;
    this.#picker = new EndpointPicker(config);
    this.#meter = new SaturationMeter(saturationDetectorOf(config, new Plugins(config)));
    for (let slot = 0; slot < endpointCount; slot++) this.table.add(simulatedEndpoint(slot));
    this.ledger = new TicketLedger({
      epoch,
      clock: () => queue.nowMs,
      load: this.table,
      learner: this.#learner(),
    });
    this.gate = new Gate({
      config,
      endpointCount,
      tree: this.tree,
      saturation: () => this.#meter.measure(this.#view).saturation,
    });
  }

  get #nowMs(): number {
    return this.#options.queue.nowMs;
  }

  get #view(): PoolView {
    const { table, staleAfterMs } = this;
    return { endpoints: table.columns, pool: table, nowMs: this.#nowMs, staleAfterMs };
  }

  /** It is one of so many. */
  setCount(count: number): void {
    const place = { index: this.index, count };
    this.#isInLane = count === 1 ? undefined : new ShardLane().of(this.table, place);
  }

  /** What a request may expect that comes now. */
  outlook(): Pick<QueueOutlook, "saturation" | "waiting" | "isHeld"> {
    return this.gate.outlook(this.#meter, this.#view) ?? passingOutlook(this.#meter, this.#view);
  }

  /** See Gate. */
  creditRoom(): number | undefined {
    return this.gate.creditRoom(this.#meter, this.#view);
  }

  /** An isolate has decided on a request, which may have ended already. */
  passed(commit: LocalCommit, end: TicketEnd | undefined): void {
    const { requestId, attempt, fairnessId, priority, weight, promptTokens, outputTokens } = commit;
    const uncachedTokens = Math.max(0, commit.reservedTokens - outputTokens);
    const whose = { requestId, attempt, fairnessId, priority, weight, bytes: 0 };
    const tokens = { promptTokens, uncachedTokens, outputTokens };
    const receivedAtMs = this.#nowMs - commit.decidedAgoMs;
    const nothing = { keys: NO_KEYS, blocksPerKey: 1 };
    this.gate.passed({ ...whose, ...tokens, receivedAtMs, ...nothing }, this.#nowMs);
    if (end !== undefined) this.gate.settled(requestId, usageOfEnd(end), this.#nowMs, attempt);
  }

  /** Answers at once, or when it is the request's turn. */
  pick(asked: AskedPick, onAnswer: OnAnswer): void {
    const { request } = asked;
    const refused = () => onAnswer(undefined);
    const letThrough = () => {
      const ticket = this.#pickNow(asked);
      onAnswer(ticket);
      if (ticket === undefined) this.gate.settled(request.requestId, NO_USAGE, this.#nowMs);
    };
    this.gate.enter({ request, letThrough, refused }, this.#nowMs);
  }

  /** As Picks does: undefined where it stays. */
  pickForSent(request: InferenceRequest, { endpoints, terms }: LocalCommit): Ticket | undefined {
    const slot = slotOfAddress(endpoints[0]!);
    if ((this.creditRoom() ?? Infinity) < 2) return undefined;
    const input = this.#inputOf(request);
    const proposed = { slot, slack: sentSlack(terms.rttMs) };
    const spared = this.#proposals.sparedFor(this.#picker, proposed, input);
    const picked = this.#picker.pick({ ...input, spared });
    if (!picked.ok || picked.slots[0] === slot) return undefined;
    this.picked++;
    const spec = ticketSpecOf(request, picked, this.table);
    return this.ledger.open({ ...spec, attempt: 1, holder: HOLDER });
  }

  #inputOf(request: InferenceRequest): PickInput {
    return {
      request,
      endpoints: this.table.columns,
      pool: this.table,
      prefixSources: this.#sources,
      nowMs: this.#nowMs,
      staleAfterMs: this.staleAfterMs,
      seed: Math.floor(this.#options.rng() * 0x1_0000_0000),
    };
  }

  #pickNow({ request, proposed }: AskedPick): Ticket | undefined {
    this.picked++;
    const input = this.#inputOf(request);
    const at = { slot: proposed, slack: PROPOSED_SLACK };
    const spared =
      this.#proposals.sparedFor(this.#picker, at, input) ??
      this.#proposals.sparedForLane(this.#picker, this.#isInLane, input);
    const picked = this.#picker.pick({ ...input, spared });
    if (!picked.ok) return undefined;
    const spec = ticketSpecOf(request, picked, this.table);
    return this.ledger.open({ ...spec, attempt: 0, holder: HOLDER });
  }

  /** A relay's report that a ticket's request is at an endpoint. */
  opened({ ticket, attempt, slot }: At, { requestId, tenant, model }: InferenceRequest): void {
    this.ledger.opened(ticket, attempt, slot, { requestId, tenant, model });
  }

  /** A relay's report of a ticket's end. */
  closed({ ticket, attempt }: Omit<At, "slot">, end: TicketEnd, request: InferenceRequest): void {
    const { requestId, tenant, model } = request;
    const settlement = this.ledger.closed(ticket, attempt, end, { requestId, tenant, model });
    if (settlement === undefined) return;
    const usage = settlement.isUnpaid ? NO_USAGE : usageOf(settlement);
    this.gate.settled(requestId, usage, this.#nowMs, attempt);
  }

  sampled(slot: number, sample: EndpointSample, sampledAtMs: number): void {
    this.table.applySample(slot, sample, sampledAtMs);
    this.gate.advance(this.#nowMs);
  }

  stored(keys: Uint32Array, slot: number): void {
    this.tree.insert(keys, slot);
  }

  removed(keys: Uint32Array, slot: number): void {
    this.tree.removeHolder(keys, slot);
  }

  #learner(): PrefixLearner {
    return {
      learn: (keys, slot) => this.tree.insert(keys, slot),
      forget: (keys, firstBlock, slot) =>
        this.tree.removeHolder(keys.subarray(2 * firstBlock), slot),
    };
  }
}

function usageOfEnd({ promptTokens, cachedTokens, completionTokens }: TicketEnd) {
  const uncachedTokens = Math.max(0, promptTokens! - (cachedTokens ?? 0));
  return { promptTokens: promptTokens!, uncachedTokens, outputTokens: completionTokens! };
}

const NO_KEYS = new Uint32Array(0);

/** The endpoint in `slot`, the same in every object. */
export function simulatedEndpoint(slot: number) {
  return { id: `sim/${slot}`, address: `${ADDRESS}${slot}:8000`, engine: "vllm", labels: {} };
}
const ADDRESS = "sim-";

export function slotOfAddress(address: string): number {
  return Number.parseInt(address.slice(ADDRESS.length), 10);
}
