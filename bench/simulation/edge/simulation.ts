// One pool, seen from many isolates in several colos, in virtual time.
//
//   client ─▶ isolate ─decides─▶ relay ─▶ engine          0 + ½ rtt
//             isolate ─asks─▶ object ─▶ isolate ─▶ relay   rtt + ½ rtt
//             isolate ─sends ─▶ relay, ─asks─▶ object meanwhile      0 + ½ rtt, and where that is better rtt + ½ rtt
//             isolate ─commits, asks for snapshot and credit─▶ object     off the request's way
//
// A turn of a conversation lands on a random isolate of its client's colo, as nothing keeps it at one.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import type { EdgeSync, EdgeSynced } from "../../../src/durable/contract.ts";
import type { Ticket } from "../../../src/durable/tickets/ticket.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX, type EndpointSample } from "../../../src/scheduler/model/endpoint-table.ts";
import { prepareShards } from "../../../src/scheduler/shards/shard-of.ts";
import { createRng, type Rng } from "../../../src/scheduler/support/rng.ts";
import { EDGE_EPOCH_PREFIX } from "../../../src/agents/protocol/ticket-name.ts";
import { EventQueue } from "../event-queue.ts";
import { Flight } from "../flight.ts";
import type { Outcome } from "../outcome.ts";
import type { Phase, Session } from "../workload.ts";
import { BoundWatch } from "./bound-watch.ts";
import { ContentNames, keysOf } from "./content-names.ts";
import { EdgeDesk } from "./edge-desk.ts";
import { EngineBank } from "./engine-bank.ts";
import { type Isolate, type Journey, NOTHING_DONE, ticketEndOf } from "./journey.ts";
import { Messages, weigh } from "./messages.ts";
import { PoolObject, slotOfAddress } from "./pool-object.ts";
import type { EdgeOptions, EdgeOutcome, EdgeResult } from "./run.ts";
import { shardFor, ShardSet } from "./shard-set.ts";
import type { EdgeTopology } from "./topology.ts";
import type { Asked, Decided } from "./ways.ts";

/** Requests come when samples of all engines have. */
const START_MS = 3_000;

export function simulateEdge(options: EdgeOptions): EdgeResult {
  return new EdgeSimulation(options).run();
}

class EdgeSimulation {
  readonly #options: EdgeOptions;
  readonly #config: SchedulerConfig;
  readonly #picker: EndpointPicker;
  readonly #queue = new EventQueue();
  readonly #bank: EngineBank;
  readonly #names = new ContentNames();
  readonly #shards: ShardSet;
  readonly #desks: readonly EdgeDesk[];
  readonly #messages: Messages;
  readonly #bounds: BoundWatch;
  readonly #isolates: readonly Isolate[];
  readonly #rng: Rng;
  readonly #journeys = new Map<Flight, Journey>();
  /** What engines hold, as nobody else knows it. */
  readonly #truth = new PrefixTree();
  readonly #matched = new Int32Array(ENDPOINTS_MAX);
  readonly #outcomes: EdgeOutcome[] = [];
  readonly #shardLoads: number[];
  #turnsLeft = 0;
  #measuredLeft = 0;
  #sent = 0;
  #sentMeanwhile = 0;
  #calledOff = 0;

  constructor(options: EdgeOptions) {
    this.#options = options;
    const { topology, shards, seed, config, way } = options;
    const queue = this.#queue;
    this.#config = schedulerConfigSchema.parse(config);
    this.#picker = new EndpointPicker(this.#config);
    this.#rng = createRng(seed);
    this.#shardLoads = Array.from({ length: shards }, () => 0);
    this.#messages = new Messages(queue, topology, createRng(seed + 1));
    const objects = this.#shardLoads.map((_, index) => this.#createObject(index));
    const { sharding } = way;
    const clock = () => queue.nowMs;
    const defer = (callback: () => void) => queue.add(queue.nowMs, callback);
    this.#desks = objects.map((object) => {
      const { index } = object;
      return new EdgeDesk({
        object,
        epoch: `desk${index}`,
        clock,
        defer,
        shards: () => (shards === 1 ? undefined : this.#shards.map),
        observe: (keys) => this.#shards.observe(keys, index),
      });
    });
    this.#shards = new ShardSet({ objects, sharding, queue });
    this.#bank = new EngineBank(topology.shape, queue, {
      finished: (flight, slot, end) => this.#finished(flight, slot, end),
      sampled: (slot, sample, atMs) => this.#sampled(slot, sample, atMs),
      blocksChanged: (slot, stored, removed) => this.#blocksChanged(slot, stored, removed),
    });
    const { concurrencyMax = Infinity } = options;
    this.#bounds = new BoundWatch(concurrencyMax, topology.shape.endpointCount, () =>
      this.#desks.reduce((sum, { outstanding }) => sum + outstanding, 0),
    );
    this.#isolates = topology.colos.flatMap(({ rttMs }, colo) =>
      Array.from({ length: topology.isolatesPerColo }, (__, i) =>
        this.#createIsolate({ colo, rttMs: way.isInstant === true ? 0 : rttMs, number: i }),
      ),
    );
    this.#begin(options.phase);
  }

  run(): EdgeResult {
    const lastMs = START_MS + this.#options.phase.measuredUntilMs;
    const isOver = () =>
      this.#turnsLeft === 0 || (this.#queue.nowMs > lastMs && this.#measuredLeft === 0);
    while (!isOver() && this.#queue.runNext());
    return {
      outcomes: this.#outcomes,
      virtualMs: this.#queue.nowMs,
      bytes: this.#messages.bytes,
      splitChanges: this.#shards.changes,
      bounds: this.#bounds.figures,
      shardLoads: this.#shardLoads,
      calledOffShare: this.#calledOff / Math.max(1, this.#sentMeanwhile),
    };
  }

  #createObject(index: number): PoolObject {
    const { topology, seed } = this.#options;
    const { endpointCount, scrapeIntervalMs } = topology.shape;
    return new PoolObject({
      index,
      epoch: `object${index}`,
      endpointCount,
      scrapeIntervalMs,
      config: this.#config,
      queue: this.#queue,
      rng: createRng(seed * 64 + index),
    });
  }

  #createIsolate(at: { colo: number; rttMs: number; number: number }): Isolate {
    const { topology, way, seed } = this.#options;
    const { colo, rttMs, number } = at;
    const epoch = `${EDGE_EPOCH_PREFIX}${colo}x${number}`;
    const mind = way.createMind?.({
      topology,
      picker: this.#picker,
      epoch,
      rng: createRng((seed * 8 + colo) * 1_024 + number),
      nowMs: () => this.#queue.nowMs,
      after: (ms, event) => this.#queue.add(this.#queue.nowMs + ms, event),
      sync: (shard, sync, onSynced) => this.#sync(isolate, shard, { sync, onSynced }),
      loads: (shard, onLoads) => this.#tellLoads(isolate, shard, onLoads),
    });
    const isolate: Isolate = { colo, rttMs, mind, shards: this.#shards.prepared };
    return isolate;
  }

  #begin({ sessions }: Phase): void {
    this.#turnsLeft = sessions.reduce((sum, { turns }) => sum + turns.length, 0);
    sessions.forEach((session, index) => {
      const colo = drawColo(this.#options.topology, this.#rng);
      this.#queue.add(START_MS + session.startMs, () => this.#send(session, { index, colo }, 0));
    });
  }

  #send(session: Session, at: { index: number; colo: number }, turn: number): void {
    const { isolatesPerColo } = this.#options.topology;
    const sentAtMs = this.#queue.nowMs;
    const { measuredFromMs, measuredUntilMs } = this.#options.phase;
    const sinceMs = sentAtMs - START_MS;
    const isMeasured = sinceMs >= measuredFromMs && sinceMs < measuredUntilMs;
    const index = this.#sent++;
    const flight = new Flight({
      index,
      sessionIndex: at.index,
      session,
      turn,
      sentAtMs,
      isMeasured,
    });
    this.#names.add(flight.request.truth);
    const number = Math.floor(this.#rng() * isolatesPerColo);
    const isolate = this.#isolates[at.colo * isolatesPerColo + number]!;
    const { inference } = flight.request;
    const shard = shardFor(inference.keys, isolate.shards, index);
    const decided = isolate.mind?.decide(inference, shard) ?? ASKED;
    const untold = { ticket: "", attempt: 0, relayedAtMs: 0, charged: -1, bestTokens: 0 };
    const journey: Journey = { flight, isolate, shard, decided, ...untold };
    this.#journeys.set(flight, journey);
    if (isMeasured) this.#measuredLeft++;
    if (isMeasured) this.#shardLoads[shard]!++;
    if (decided.local === undefined) return this.#ask(journey);
    journey.ticket = decided.local.ticket;
    this.#relay(journey, decided.local.slots);
    if (decided.sent !== undefined) this.#askMeanwhile(journey, decided.sent);
  }

  #askMeanwhile(journey: Journey, sent: LocalCommit): void {
    const { isolate, shard, flight, decided } = journey;
    const { inference } = flight.request;
    const askedAtMs = this.#queue.nowMs;
    const asked = isolate.mind!.asks!(shard);
    this.#sentMeanwhile += 1;
    this.#messages.travel(isolate.rttMs, () => {
      const rather = this.#desks[shard]!.askedMeanwhile(inference, sent);
      const told = this.#tellAlong(shard, asked);
      const slots = (rather ?? sent).endpoints.map(slotOfAddress);
      this.#messages.travel(isolate.rttMs, () => {
        const { proposal } = decided;
        const at = { request: inference, slot: slots[0], proposal, askedAtMs };
        isolate.mind!.answered!(shard, told, at);
        this.#heardOfShards(isolate);
        if (rather !== undefined) this.#callOff(journey, rather);
      });
    });
  }

  /** It is closed where it was sent, and goes on elsewhere: unless it has an answer by then. */
  #callOff(journey: Journey, rather: Ticket): void {
    const { isolate, flight, shard } = journey;
    const { toEngineMs, reportMs } = this.#options.topology.shape.network;
    const { rttMs } = this.#options.topology.colos[isolate.colo]!;
    const object = this.#shards.objects[shard]!;
    const { inference } = flight.request;
    const slots = rather.endpoints.map(slotOfAddress);
    const first = { ticket: journey.ticket, attempt: journey.attempt, slot: journey.charged };
    const other = { ticket: rather.id, attempt: rather.attempt, slot: slots[0]! };
    this.#bounds.sent(other.slot, this.#queue.nowMs);
    this.#queue.add(this.#queue.nowMs + rttMs / 2 + toEngineMs, () => {
      const isMoved = this.#bank.abort(flight);
      const lost = isMoved ? first : other;
      this.#bounds.ended(lost.slot);
      this.#queue.add(this.#queue.nowMs + reportMs, () =>
        object.closed(lost, { ...NOTHING_DONE, slot: lost.slot }, inference),
      );
      if (!isMoved) return;
      this.#calledOff += 1;
      journey.charged = other.slot;
      journey.ticket = other.ticket;
      journey.attempt = other.attempt;
      this.#submit(journey, slots);
    });
  }

  #ask(journey: Journey): void {
    const { isolate, shard, flight, decided } = journey;
    const { inference } = flight.request;
    const { proposal } = decided;
    const askedAtMs = this.#queue.nowMs;
    const asked = isolate.mind?.asks?.(shard);
    const object = this.#shards.objects[shard]!;
    this.#messages.travel(isolate.rttMs, () => {
      this.#shards.observe(inference.keys, shard);
      object.pick({ request: inference, proposed: proposal?.slot }, (ticket) => {
        const told = asked && this.#tellAlong(shard, asked);
        const slot = ticket && slotOfAddress(ticket.endpoints[0]!);
        this.#messages.travel(isolate.rttMs, () => {
          const at = { request: inference, slot, proposal, askedAtMs };
          if (told !== undefined) isolate.mind!.answered?.(shard, told, at);
          this.#heardOfShards(isolate);
          this.#answered(journey, ticket);
        });
      });
    });
  }

  /** With a pick's answer. */
  #tellAlong(shard: number, { edge, credit }: Asked): EdgeSynced {
    const asked = { ...(edge && { known: edge }), ...(credit && { credit }) };
    const told = this.#desks[shard]!.withGrant(asked);
    this.#messages.bytes.snapshots += weigh(told);
    return told;
  }

  #answered(journey: Journey, ticket: Ticket | undefined): void {
    const { flight } = journey;
    flight.decidedAtMs = this.#queue.nowMs;
    if (ticket === undefined) return this.#shed(journey);
    journey.ticket = ticket.id;
    this.#relay(journey, ticket.endpoints.map(slotOfAddress));
  }

  /** Off the request's way. */
  #sync(
    isolate: Isolate,
    shard: number,
    { sync, onSynced }: { sync: EdgeSync; onSynced: (synced: EdgeSynced) => void },
  ): void {
    const desk = this.#desks[shard]!;
    this.#messages.bytes.syncCount++;
    this.#messages.bytes.commits += weigh(sync);
    this.#messages.travelIfAtAll(isolate.rttMs, () => {
      const synced = desk.sync(sync);
      this.#messages.bytes.snapshots += weigh(synced);
      this.#messages.travelIfAtAll(isolate.rttMs, () => {
        this.#heardOfShards(isolate);
        onSynced(synced);
      });
    });
  }

  #tellLoads(isolate: Isolate, shard: number, onLoads: (loads: Int32Array) => void): void {
    const { columns } = this.#shards.objects[shard]!.table;
    this.#messages.travelIfAtAll(isolate.rttMs, () => {
      const loads = columns.inFlightRequests.map((inFlight, slot) =>
        Math.max(inFlight, columns.queueDepth[slot]! + columns.runningRequests[slot]!),
      );
      this.#messages.travelIfAtAll(isolate.rttMs, () => onLoads(loads));
    });
  }

  /** Its next requests go by the map of the answer that it has got. */
  #heardOfShards(isolate: Isolate): void {
    const { prepared } = this.#shards;
    if (isolate.shards.map.version !== prepared.map.version)
      isolate.shards = prepareShards(prepared.map);
  }

  #relay(journey: Journey, slots: readonly number[]): void {
    const { isolate } = journey;
    journey.charged = slots[0]!;
    this.#bounds.sent(journey.charged, this.#queue.nowMs);
    const { toEngineMs } = this.#options.topology.shape.network;
    // The way to the engines takes its time also where asking takes none.
    const { rttMs } = this.#options.topology.colos[isolate.colo]!;
    const atMs = this.#queue.nowMs + rttMs / 2 + toEngineMs;
    this.#queue.add(atMs, () => this.#submit(journey, slots));
  }

  #submit(journey: Journey, slots: readonly number[]): void {
    const { flight, shard, ticket, attempt } = journey;
    const { reportMs } = this.#options.topology.shape.network;
    journey.relayedAtMs = this.#queue.nowMs;
    journey.bestTokens = this.#bestTokens(flight);
    const slot = this.#bank.submit(flight, slots);
    if (slot === undefined) return this.#shed(journey);
    this.#queue.add(this.#queue.nowMs + reportMs, () =>
      this.#shards.objects[shard]!.opened({ ticket, attempt, slot }, flight.request.inference),
    );
  }

  #bestTokens({ request }: Flight): number {
    const { keys, promptTokens } = request.inference;
    this.#truth.match(keys, this.#matched);
    let best = 0;
    for (let slot = 0; slot < this.#options.topology.shape.endpointCount; slot++)
      best = Math.max(best, this.#matched[slot]!);
    return Math.min(promptTokens, best * CONTENT_BLOCK_TOKENS);
  }

  #finished(flight: Flight, slot: number, end: { atMs: number; cachedTokens: number }): void {
    const { atMs, cachedTokens } = end;
    const journey = this.#journeys.get(flight)!;
    this.#journeys.delete(flight);
    const { isolate, shard, ticket, attempt } = journey;
    const { rttMs } = this.#options.topology.colos[isolate.colo]!;
    const { reportMs } = this.#options.topology.shape.network;
    const { inference } = flight.request;
    this.#queue.add(atMs + reportMs, () =>
      this.#shards.objects[shard]!.closed(
        { ticket, attempt },
        ticketEndOf(journey, slot, end),
        inference,
      ),
    );
    const endedAtMs = atMs + rttMs / 2;
    if (flight.isMeasured)
      this.#record(journey, {
        endedAtMs,
        ttftMs: flight.firstTokenAtMs + rttMs / 2 - flight.sentAtMs,
        tpotMs: (atMs - flight.firstTokenAtMs) / Math.max(1, flight.outputCount - 1),
        cachedTokens,
        outputTokens: flight.outputCount,
        isShed: false,
      });
    this.#queue.add(endedAtMs, () => this.#ended(journey));
  }

  /** Nobody took it. The client goes on with the next turn as if it had an answer. */
  #shed(journey: Journey): void {
    const nothing = { tpotMs: 0, cachedTokens: 0, outputTokens: 0, isShed: true };
    this.#journeys.delete(journey.flight);
    if (journey.flight.isMeasured)
      this.#record(journey, { ...nothing, endedAtMs: this.#queue.nowMs, ttftMs: Infinity });
    this.#ended(journey);
  }

  #record(
    { flight, decided, shard, isolate, bestTokens }: Journey,
    end: Pick<
      Outcome,
      "endedAtMs" | "ttftMs" | "tpotMs" | "cachedTokens" | "outputTokens" | "isShed"
    >,
  ): void {
    const { reason, local, sent } = decided;
    const isLocal = local !== undefined && sent === undefined;
    const { colo } = isolate;
    const facts = { ...flight.facts(), reason, isLocal, shard, colo };
    this.#measuredLeft--;
    this.#outcomes.push({ ...facts, bestTokens, ...end });
  }

  #ended({ flight, isolate, charged }: Journey): void {
    if (charged >= 0) this.#bounds.ended(charged);
    const { session, turn, request } = flight;
    this.#turnsLeft--;
    const next = session.turns[turn + 1];
    if (next === undefined) return;
    const at = { index: request.session, colo: isolate.colo };
    this.#queue.add(this.#queue.nowMs + next.delayMs, () => this.#send(session, at, turn + 1));
  }

  #sampled(slot: number, sample: EndpointSample, atMs: number): void {
    this.#queue.add(atMs + this.#options.topology.shape.network.reportMs, () => {
      for (const object of this.#shards.objects) object.sampled(slot, sample, atMs);
    });
  }

  #blocksChanged(slot: number, stored: readonly number[], removed: readonly number[]): void {
    const told = [this.#names.find(stored), this.#names.find(removed)] as const;
    this.#truth.insert(keysOf(told[0]), slot);
    this.#truth.removeHolder(keysOf(told[1]), slot);
    this.#queue.add(this.#queue.nowMs + this.#options.topology.shape.network.reportMs, () =>
      this.#shards.blocksChanged(slot, ...told),
    );
  }
}

const ASKED: Decided = { reason: "forced-consult", local: undefined };

function drawColo({ colos }: EdgeTopology, rng: Rng): number {
  let left = rng();
  for (let colo = 0; colo < colos.length - 1; colo++) {
    left -= colos[colo]!.share;
    if (left < 0) return colo;
  }
  return colos.length - 1;
}
