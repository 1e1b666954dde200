// What a pool's queue is made of, and what it asks of the pool's object.

import type { QueueFacts } from "../../scheduler/decisions/record.ts";
import type { SaturationDetector } from "../../scheduler/flow-control/contracts.ts";
import type { FlowControlSettings } from "../../scheduler/flow-control/flow-controller.ts";
import type { Ejected } from "../../scheduler/flow-control/outcomes.ts";
import type { PoolView } from "../../scheduler/flow-control/saturation.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { PickGrant, PickRefusal } from "../contract.ts";
import type { QueueEnd } from "../queue-metrics.ts";
import type { WaitingPick } from "./waiting-pick.ts";

/** What a queue is of; from of-config.ts. */
export interface QueueSettings {
  readonly flowControl: FlowControlSettings;
  readonly detector: SaturationDetector;
  /** Bands that are there before anything waits in them. */
  readonly priorities: readonly number[];
}

export const QUEUE_BOUNDS = {
  /** Of those that wait, how many do as open calls, of about 45 kB each. */
  openWaitsMax: 1_000,
  /** Places whose end their Workers have not heard of. */
  endedPlacesMax: 20_000,
  /** All that waiting picks keep. */
  waitingBytesMax: 48 * 1024 * 1024,
} as const;
type QueueBounds = Readonly<Record<keyof typeof QUEUE_BOUNDS, number>>;

/** What a queue may let through, where it has no more than a part of the pool. */
export interface QueueCapacity {
  /** For one request more. */
  isThere(): boolean;
  /** A request was let through. */
  spend(): void;
  /** So many wait that were not let through. */
  wanted(requests: number): void;
}

/** In requests. */
export interface PoolRoom {
  readonly room: number;
  readonly capacity: number;
}

export interface PickQueueOptions {
  readonly clock: Clock;
  /** The pool's endpoints, as a detector sees them. */
  readonly pool: () => PoolView;
  /** Tokens of the prompt that the best endpoint holds. `keys` may be every so many blocks. */
  readonly matchTokens: (keys: Uint32Array, blocksPerKey: number) => number;
  /** Whether one more request can be tracked. */
  readonly hasRoom: () => boolean;
  /** Absent: the pool's capacity is all the queue's. */
  readonly capacity?: QueueCapacity;
  /** Decides for a request whose turn it is, and claims the capacity. */
  readonly decide: (pick: WaitingPick, queue: QueueFacts) => PickGrant | PickRefusal;
  /** A decision has thrown. */
  readonly failed: () => void;
  /** Ends a request that was let through, unless it has emitted a byte. */
  readonly evict: (victim: Ejected) => void;
  /** At each end of a wait, of one that did not have to wait, too. */
  readonly ended: (end: QueueEnd) => void;
  /** Turned away, or waited in vain: nothing was decided for it. */
  readonly refused: (
    pick: Pick<WaitingPick, "request" | "attempt">,
    refusal: PickRefusal,
    queue: QueueFacts,
  ) => void;
  /** A request that waits was asked for again. */
  readonly askedAgain: () => void;
  readonly setTimer: (callback: () => void, ms: number) => void;
  readonly limits?: QueueBounds;
}
