// An agent's sessions with all objects of its pool: with the first one from the beginning, and with the
// others as that one says how many there are.
//
//   absent ──counted, or wanted──► open ──not counted any more──► leaving ──done, or too long──► absent
//                                   ▲                                │
//                                   └───────── counted again ◄───────┘
//
// Sessions have nothing to do with each other: each has its own epoch, numbers and pace of dialling. One
// whose object is not counted any more stays while something has still to be said to it, because what it has
// granted ends there; and a while in any case, because Workers may still ask it.

import type { Configure } from "../protocol/messages.ts";
import { ONE_SHARD, type ShardMap, SHARDS_MAX } from "../../scheduler/shards/contracts.ts";
import { PoolSession, type SessionEvents, type SessionOptions } from "./pool-session.ts";

/** The one that says how many there are. */
const FIRST = 0;

/** Times of sessions that leave, in ms. Tests shorten them. */
export interface LeavingTiming {
  /** A Worker may ask an object for so long after its pool has been given fewer. */
  readonly staysMs: number;
  /** As long as nearly all answers take. What is not said by then is not said. */
  readonly staysMsMax: number;
  /** Between two looks. */
  readonly lookMs: number;
}
const LEAVING: LeavingTiming = { staysMs: 30_000, staysMsMax: 900_000, lookMs: 1_000 };

/** Another object of a pool may have to be told of it first: an agent can be sooner. */
const SHARD_REFUSED_RETRY_MS = 3_000;

/** What an agent does with one session. */
export interface ShardUse {
  readonly events: SessionEvents;
  /** Whether there is nothing left to say to an object that is leaving. */
  readonly isDone: boolean;
  /** The session has ended for good. */
  closed(): void;
}

export interface ShardSessionsOptions<Use extends ShardUse> extends Omit<
  SessionOptions,
  "events" | "shard"
> {
  /** Begins to use a session, which is not connected yet. */
  open(shard: number, session: PoolSession): Use;
  /** The pool is spread otherwise than before; the sessions that it needs are open. */
  onMap?(map: ShardMap): void;
  readonly leaving?: Partial<LeavingTiming>;
}

interface Shard<Use> {
  readonly session: PoolSession;
  readonly use: Use;
  /** Since when it is not counted; undefined while it is. */
  leavingSinceMs: number | undefined;
}

export class ShardSessions<Use extends ShardUse> {
  readonly #options: ShardSessionsOptions<Use>;
  readonly #timing: LeavingTiming;
  /** At most SHARDS_MAX. */
  readonly #shards = new Map<number, Shard<Use>>();
  readonly #sweep: NodeJS.Timeout;
  #map: ShardMap = ONE_SHARD;

  constructor(options: ShardSessionsOptions<Use>) {
    this.#options = options;
    this.#timing = { ...LEAVING, ...options.leaving };
    this.#open(FIRST);
    this.#sweep = setInterval(() => this.#closeDone(), this.#timing.lookMs);
  }

  /** As the first object said last, whether it is connected or not. */
  get map(): ShardMap {
    return this.#map;
  }

  /** Whether every object that is counted has accepted this agent. */
  get isEstablished(): boolean {
    for (const { session, leavingSinceMs } of this.#shards.values()) {
      if (leavingSinceMs === undefined && !session.isEstablished) return false;
    }
    return true;
  }

  /** In the order in which they were opened, those that leave among them. */
  get uses(): readonly Use[] {
    return Array.from(this.#shards.values(), ({ use }) => use);
  }

  /** Undefined for one that has no session. */
  use(shard: number): Use | undefined {
    return this.#shards.get(shard)?.use;
  }

  /**
   * The same for one that somebody has had to do with, who may know more of the pool, or less: an object that
   * is not counted, or not yet, is dialled as well. Undefined for what cannot be one.
   */
  wanted(shard: number): Use | undefined {
    if (shard < 0 || shard >= SHARDS_MAX) return undefined;
    const known = this.#shards.get(shard) ?? this.#open(shard);
    return known.use;
  }

  /** Ends all sessions, after what was sent has left. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    await Promise.all([...this.#shards.values()].map(({ session }) => session.close()));
  }

  #open(index: number): Shard<Use> {
    const { timing, logger } = this.#options;
    const isFirst = index === FIRST;
    let shard: Shard<Use>;
    const events = (): SessionEvents => shard.use.events;
    const session = new PoolSession({
      ...this.#options,
      shard: index,
      logger: isFirst ? logger : logger.child({ shard: index }),
      timing: isFirst ? timing : { refusedRetryMs: SHARD_REFUSED_RETRY_MS, ...timing },
      events: {
        onResync: () => events().onResync(),
        onWelcome: () => events().onWelcome?.(),
        onAck: (acknowledged) => events().onAck(acknowledged),
        onConfigure: (configure) => {
          if (isFirst) this.#learn(configure);
          events().onConfigure?.(configure);
        },
        onEvict: (evict) => events().onEvict?.(evict),
        onKv: (message) => events().onKv?.(message),
      },
    });
    const isCounted = index < this.#map.count;
    const leavingSinceMs = isCounted ? undefined : performance.now();
    shard = { session, use: this.#options.open(index, session), leavingSinceMs };
    this.#shards.set(index, shard);
    return shard;
  }

  #learn({ shards }: Configure): void {
    const map = shards === undefined ? ONE_SHARD : toMap(shards);
    if (JSON.stringify(map) === JSON.stringify(this.#map)) return;
    const { count: before } = this.#map;
    this.#map = map;
    if (map.count !== before) {
      this.#options.logger.info({ before, count: map.count }, "the pool has other objects");
    }
    for (let index = 0; index < map.count; index++) {
      const shard = this.#shards.get(index) ?? this.#open(index);
      shard.leavingSinceMs = undefined;
    }
    const nowMs = performance.now();
    for (const [index, shard] of this.#shards) {
      if (index >= map.count) shard.leavingSinceMs ??= nowMs;
    }
    this.#options.onMap?.(map);
  }

  #closeDone(): void {
    const nowMs = performance.now();
    for (const [index, { session, use, leavingSinceMs }] of this.#shards) {
      if (leavingSinceMs === undefined) continue;
      const leavingMs = nowMs - leavingSinceMs;
      const mayClose = leavingMs >= this.#timing.staysMs && use.isDone;
      if (!mayClose && leavingMs < this.#timing.staysMsMax) continue;
      this.#shards.delete(index);
      this.#options.logger.info({ shard: index, isDone: use.isDone }, "left an object of the pool");
      void session.close();
      use.closed();
    }
  }
}

/** Without what is the object's own. What is past the bound was never asked for. */
function toMap({ count, version, splits }: NonNullable<Configure["shards"]>): ShardMap {
  return { count: Math.min(count, SHARDS_MAX), version, splits };
}
