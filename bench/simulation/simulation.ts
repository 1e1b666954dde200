// A pool under a workload, in virtual time: clients, router, engines, and the messages between them.
//
//   client ──choose──► router ──toEngineMs──► engine ──toClientMs──► client, who sends the next turn
//                        ▲                      │
//                        └──────reportMs────────┘   dispatched, first token, end, samples
//
// Nothing is random here: a workload and a policy give the same run each time.

import { Engine, type EngineListener } from "../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../src/agents/simulator/model/sequence.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { DenseIndex } from "./dense-index.ts";
import { EngineWakes, sampleOf } from "./engine-wakes.ts";
import { EventQueue } from "./event-queue.ts";
import { Flight } from "./flight.ts";
import { HandOvers, PrefillContent } from "./hand-over.ts";
import type { Outcome, RunResult } from "./outcome.ts";
import type { Outlet, Policy, PolicyDefinition, RoutedRequest } from "./policy.ts";
import { type PoolShape, RDMA_200G } from "./pool-shape.ts";
import type { Phase, Session } from "./workload.ts";

/** Samples come before the first request does. */
const START_MS = 1_000;
/** Of virtual time: more than any workload here takes, less than forever. */
const VIRTUAL_MS_MAX = 7 * 24 * 3_600_000;

export interface SimulationOptions {
  readonly shape: PoolShape;
  readonly policy: PolicyDefinition;
  readonly phases: readonly Phase[];
  /** Of what the policy draws. */
  readonly seed: number;
  /** Told of the time between two tokens of a request that counts. It makes a run slower. */
  readonly onGap?: (gapMs: number) => void;
}

export function simulate(options: SimulationOptions): RunResult {
  return new Simulation(options).run();
}

class Simulation {
  readonly #shape: PoolShape;
  readonly #phases: readonly Phase[];
  readonly #queue = new EventQueue();
  readonly #engines: readonly Engine<number>[];
  readonly #wakes: EngineWakes;
  readonly #policy: Policy;
  readonly #handOvers: HandOvers;
  readonly #onGap: ((gapMs: number) => void) | undefined;
  readonly #outcomes: Outcome[] = [];
  /** Those that the policy has not answered yet. */
  readonly #undecided = new Map<RoutedRequest, Flight>();
  #phase = -1;
  #phaseStartMs = START_MS;
  /** Turns of the present phase that have not ended. */
  #turnsLeft = 0;
  /** When the last session of the phase begins. */
  #lastStartMs = 0;
  #sent = 0;
  #sessions = 0;
  #imbalanceSum = 0;
  #imbalanceCount = 0;

  constructor({ shape, policy, phases, seed, onGap }: SimulationOptions) {
    const { scrapeIntervalMs = shape.scrapeIntervalMs } = policy;
    this.#onGap = onGap;
    this.#shape = { ...shape, scrapeIntervalMs };
    this.#phases = phases;
    this.#engines = Array.from({ length: shape.endpointCount }, (_, slot) =>
      this.#createEngine(slot),
    );
    this.#wakes = new EngineWakes(this.#engines, this.#queue);
    const rng = createRng(seed);
    const engines = this.#engines;
    this.#handOvers = new HandOvers({
      queue: this.#queue,
      timing: shape.transfer ?? RDMA_200G,
      engines,
      wake: (slot) => this.#wakes.wake(slot),
    });
    const { endpointCount } = shape;
    const outlet = this.#outlet();
    this.#policy = policy.create({ endpointCount, shape, rng, engines, outlet });
  }

  run(): RunResult {
    this.#engines.forEach((_, slot) => this.#scheduleScrapes(slot));
    this.#queue.add(START_MS, () => this.#beginPhase());
    while (this.#phase < this.#phases.length && this.#queue.runNext()) {
      if (this.#queue.nowMs > VIRTUAL_MS_MAX) throw new Error("the run takes over a week");
    }
    return {
      outcomes: this.#outcomes,
      imbalance: this.#imbalanceSum / Math.max(1, this.#imbalanceCount),
      virtualMs: this.#queue.nowMs,
    };
  }

  #beginPhase(): void {
    this.#phase++;
    this.#phaseStartMs = this.#queue.nowMs;
    const phase = this.#phases[this.#phase];
    if (phase === undefined) return;
    this.#turnsLeft = phase.sessions.reduce((sum, { turns }) => sum + turns.length, 0);
    if (this.#turnsLeft === 0) return this.#beginPhase();
    this.#lastStartMs = 0;
    for (const session of phase.sessions) {
      this.#lastStartMs = Math.max(this.#lastStartMs, session.startMs);
      const index = this.#sessions++;
      const atMs = this.#phaseStartMs + session.startMs;
      this.#queue.add(atMs, () => this.#send(session, index, 0));
    }
  }

  #send(session: Session, sessionIndex: number, turn: number): void {
    const nowMs = this.#queue.nowMs;
    const sinceStartMs = nowMs - this.#phaseStartMs;
    const { measuredFromMs, measuredUntilMs } = this.#phases[this.#phase]!;
    const isMeasured = sinceStartMs >= measuredFromMs && sinceStartMs < measuredUntilMs;
    const index = this.#sent++;
    const flight = new Flight({ index, sessionIndex, session, turn, sentAtMs: nowMs, isMeasured });
    this.#undecided.set(flight.request, flight);
    const slots = this.#policy.choose(flight.request, nowMs);
    if (slots !== undefined) this.#dispatch(this.#decided(flight.request), Array.from(slots));
  }

  #outlet(): Outlet {
    return {
      send: (request, slots) => this.#dispatch(this.#decided(request), Array.from(slots)),
      refuse: (request) => this.#dispatch(this.#decided(request), []),
    };
  }

  #decided(request: RoutedRequest): Flight {
    const flight = this.#undecided.get(request);
    if (flight === undefined) throw new Error("a request is decided twice");
    this.#undecided.delete(request);
    flight.decidedAtMs = this.#queue.nowMs;
    return flight;
  }

  #dispatch(flight: Flight, slots: readonly number[]): void {
    if (slots.length === 0) return this.#shed(flight, undefined);
    const atMs = this.#queue.nowMs + this.#shape.network.toEngineMs;
    const prefillSlot = this.#policy.prefillSlot?.(flight.request);
    if (prefillSlot === undefined) this.#queue.add(atMs, () => this.#arrive(flight, slots, 0));
    else this.#queue.add(atMs, () => this.#prefill(flight, prefillSlot, slots));
  }

  /** Has the prompt computed at `slot`, and goes on at the first of `slots` that takes it. */
  #prefill(flight: Flight, slot: number, slots: readonly number[]): void {
    const nowMs = this.#queue.nowMs;
    flight.goOn = (sequence, atMs) => {
      const { promptCount, cachedCount } = sequence;
      flight.prefillCachedTokens = cachedCount;
      this.#handOvers.computed(flight, { slot, sequence });
      this.#arrive(flight, slots, 0);
      const how = {
        durationMs: atMs - nowMs,
        promptTokens: promptCount,
        cachedTokens: cachedCount,
      };
      this.#queue.add(atMs + this.#shape.network.reportMs, () =>
        this.#policy.prefilled?.(flight.request, slot, how),
      );
    };
    if (this.#engines[slot]!.submit(new PrefillContent(flight), nowMs) === undefined) {
      this.#arrive(flight, slots, 0);
    }
    this.#wakes.wake(slot);
  }

  #arrive(flight: Flight, slots: readonly number[], attempt: number): void {
    const { toEngineMs, reportMs } = this.#shape.network;
    const slot = slots[attempt]!;
    const nowMs = this.#queue.nowMs;
    if (this.#engines[slot]!.submit(flight, nowMs) === undefined) {
      if (attempt + 1 === slots.length) return this.#shed(flight, slot);
      this.#queue.add(nowMs + toEngineMs, () => this.#arrive(flight, slots, attempt + 1));
      return;
    }
    flight.slot = slot;
    this.#wakes.wake(slot);
    if (this.#policy.dispatched === undefined) return;
    this.#queue.add(nowMs + reportMs, () =>
      this.#policy.dispatched!(flight.request, slot, this.#queue.nowMs),
    );
  }

  #createEngine(slot: number): Engine<number> {
    const listener: EngineListener<number> = {
      scheduled: () => {},
      firstToken: (sequence, atMs) => this.#firstToken(sequence, slot, atMs),
      ...(this.#onGap === undefined ? {} : { token: tellGaps(this.#onGap) }),
      finished: (sequence, atMs) => this.#finished(sequence, slot, atMs),
      transferBegan: (sequence, tokenCount) => {
        // Not while the engine is at work.
        this.#queue.add(this.#queue.nowMs, () => this.#handOvers.began(sequence, slot, tokenCount));
      },
      preempted: () => {},
      stepped: () => {},
      stored: () => {},
      removed: () => {},
    };
    return new Engine(this.#shape.engine, listener, createRng(slot), new DenseIndex());
  }

  #firstToken(sequence: Sequence<number>, slot: number, atMs: number): void {
    if (sequence.content instanceof PrefillContent) return;
    const flight = sequence.content as Flight;
    flight.firstTokenAtMs = atMs;
    if (this.#policy.firstToken === undefined) return;
    this.#queue.add(atMs + this.#shape.network.reportMs, () =>
      this.#policy.firstToken!(flight.request, slot, this.#queue.nowMs),
    );
  }

  #finished(sequence: Sequence<number>, slot: number, atMs: number): void {
    if (sequence.content instanceof PrefillContent) {
      const { flight: split } = sequence.content;
      this.#queue.add(this.#queue.nowMs, () => split.goOn(sequence, atMs));
      return;
    }
    const flight = sequence.content as Flight;
    const { reportMs, toClientMs } = this.#shape.network;
    // What was read from another engine was cached only as far as that one had it.
    const cachedCount = flight.isRemote ? flight.prefillCachedTokens : sequence.cachedCount;
    if (this.#policy.finished !== undefined) {
      const how = {
        ttftMs: flight.firstTokenAtMs - flight.decidedAtMs,
        durationMs: atMs - flight.decidedAtMs,
        promptTokens: flight.promptCount,
        cachedTokens: cachedCount,
        completionTokens: flight.outputCount,
      };
      this.#queue.add(atMs + reportMs, () =>
        this.#policy.finished!(flight.request, slot, how, this.#queue.nowMs),
      );
    }
    if (flight.isMeasured) {
      this.#outcomes.push({
        ...flight.facts(),
        endedAtMs: atMs + toClientMs,
        ttftMs: flight.firstTokenAtMs + toClientMs - flight.sentAtMs,
        tpotMs: (atMs - flight.firstTokenAtMs) / Math.max(1, flight.outputCount - 1),
        cachedTokens: cachedCount,
        outputTokens: flight.outputCount,
        isShed: false,
      });
    }
    this.#queue.add(atMs + toClientMs, () => this.#ended(flight));
  }

  /** Nobody took it. The client goes on with the next turn as if it had an answer. */
  #shed(flight: Flight, lastSlot: number | undefined): void {
    const nowMs = this.#queue.nowMs;
    if (lastSlot !== undefined) this.#policy.shed?.(flight.request, lastSlot, nowMs);
    if (flight.isMeasured) {
      this.#outcomes.push({
        ...flight.facts(),
        endedAtMs: nowMs,
        ttftMs: Infinity,
        tpotMs: 0,
        cachedTokens: 0,
        outputTokens: 0,
        isShed: true,
      });
    }
    this.#ended(flight);
  }

  #ended({ session, turn, request }: Flight): void {
    this.#turnsLeft--;
    const next = session.turns[turn + 1];
    if (next !== undefined) {
      const atMs = this.#queue.nowMs + next.delayMs;
      this.#queue.add(atMs, () => this.#send(session, request.session, turn + 1));
    } else if (this.#turnsLeft === 0) {
      // Reports that are under way arrive before the next phase begins.
      this.#queue.add(this.#queue.nowMs + START_MS, () => this.#beginPhase());
    }
  }

  /** Scrapes are spread over the interval, so that not all endpoints are seen at once. */
  #scheduleScrapes(slot: number): void {
    const { scrapeIntervalMs, endpointCount, network } = this.#shape;
    const scrape = (): void => {
      const atMs = this.#queue.nowMs;
      if (slot === 0) this.#measureImbalance();
      if (this.#policy.sampled !== undefined) {
        const sample = sampleOf(this.#engines[slot]!);
        this.#queue.add(atMs + network.reportMs, () =>
          this.#policy.sampled!(slot, sample, atMs, this.#queue.nowMs),
        );
      }
      this.#queue.add(atMs + scrapeIntervalMs, scrape);
    };
    this.#queue.add((scrapeIntervalMs * slot) / endpointCount, scrape);
  }

  #measureImbalance(): void {
    const phase = this.#phases[this.#phase];
    const sinceStartMs = this.#queue.nowMs - this.#phaseStartMs;
    if (phase === undefined || sinceStartMs < phase.measuredFromMs) return;
    // A pool that runs empty is never in balance.
    if (sinceStartMs > this.#lastStartMs) return;
    let sum = 0;
    let max = 0;
    for (const { runningCount, waitingCount } of this.#engines) {
      sum += runningCount + waitingCount;
      max = Math.max(max, runningCount + waitingCount);
    }
    if (sum === 0) return;
    this.#imbalanceSum += (max * this.#engines.length) / sum;
    this.#imbalanceCount++;
  }
}

/** A listener to tokens that tells of the time since the one before. */
function tellGaps(onGap: (gapMs: number) => void) {
  return ({ content }: Sequence<number>, atMs: number): void => {
    if (content instanceof PrefillContent) return;
    const flight = content as Flight;
    if (flight.isMeasured && flight.lastTokenAtMs <= atMs) onGap(atMs - flight.lastTokenAtMs);
    flight.lastTokenAtMs = atMs;
  };
}
