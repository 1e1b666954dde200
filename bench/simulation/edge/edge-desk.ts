// The object's side of decisions at the edge: snapshots, credit, and commits into ledger and flow control.
//
// Mirrors src/durable/edge/{edge-desk,local-commits}.ts, without metrics and records.

import type { EdgeSync, EdgeSynced } from "../../../src/durable/contract.ts";
import { PoolCredit, ROOM_PER_ENDPOINT_MAX } from "../../../src/durable/edge/pool-credit.ts";
import { PoolSnapshots } from "../../../src/durable/edge/pool-snapshots.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import type { InferenceRequest } from "../../../src/scheduler/model/inference-request.ts";
import type { Ticket } from "../../../src/durable/tickets/ticket.ts";
import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { type PoolObject, slotOfAddress } from "./pool-object.ts";

export interface EdgeDeskOptions {
  readonly object: PoolObject;
  readonly epoch: string;
  readonly clock: () => number;
  /** Calls back in a turn of its own. */
  readonly defer: (callback: () => void) => void;
  /** Of a pool of several objects. */
  readonly shards: () => ShardMap | undefined;
  /** A request is to be counted that an isolate has decided on. */
  readonly observe: (keys: Uint32Array) => void;
}

interface Asking {
  readonly known?: EdgeSync["known"] | undefined;
  readonly credit?: EdgeSync["credit"] | undefined;
}

export class EdgeDesk {
  readonly #options: EdgeDeskOptions;
  readonly #snapshots: PoolSnapshots;
  readonly #credit: PoolCredit;

  constructor(options: EdgeDeskOptions) {
    const { object, epoch, clock, defer } = options;
    this.#options = options;
    this.#snapshots = new PoolSnapshots({
      epoch,
      clock,
      table: object.table,
      pairTables: () => [object.tree.pairs],
      isComplete: () => true,
      defer,
      facts: () => this.#facts(),
      summary: () => undefined,
    });
    this.#credit = new PoolCredit({ epoch, clock, room: () => this.#room() });
  }

  /** Requests that isolates may let through without asking. */
  get outstanding(): number {
    return this.#credit.outstanding;
  }

  /** Takes in what is told, and answers what is asked. */
  sync({ known, credit, commits }: EdgeSync): EdgeSynced {
    for (const commit of commits) this.#commit(commit);
    return this.#answer({ known, credit }, true);
  }

  /** Asked about what has been sent: the ticket of where it is to be instead, or undefined where it stays and is committed. */
  askedMeanwhile(request: InferenceRequest, sent: LocalCommit): Ticket | undefined {
    const { object } = this.#options;
    const ticket = object.pickForSent(request, sent);
    this.#commit(sent);
    if (ticket === undefined) return undefined;
    object.ledger.callOff(sent.ticket, ticket.id);
    object.passed({ ...sent, attempt: ticket.attempt }, undefined);
    return ticket;
  }

  /** What goes with a pick's answer. */
  withGrant(asked: Asking): EdgeSynced {
    return this.#answer(asked, true);
  }

  #answer({ known, credit }: Asking, isCurrent: boolean): EdgeSynced {
    const snapshot = known && this.#snapshots.take(known, isCurrent);
    const granted = credit && this.#credit.grant(credit);
    return {
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(granted === undefined ? {} : { credit: granted }),
    };
  }

  #facts() {
    const { object, shards } = this.#options;
    const { saturation, waiting, isHeld } = object.outlook();
    const map = shards();
    const { staleAfterMs } = object;
    const facts = { configVersion: 1, staleAfterMs, saturation, waiting, isHeld };
    return map === undefined ? facts : { ...facts, shards: map };
  }

  #room(): number {
    const { object } = this.#options;
    return object.creditRoom() ?? ROOM_PER_ENDPOINT_MAX * object.table.size;
  }

  #commit(commit: LocalCommit): void {
    const { object, observe } = this.#options;
    const { ticket, keys, endpoints, prefill: _, ...spec } = commit;
    const slot = slotOfAddress(endpoints[0]!);
    const told = { ...spec, keys, endpoints, id: ticket, slot };
    const { outcome, end } = object.ledger.local.commit(told);
    if (outcome !== "opened" && outcome !== "completed" && end === undefined) return;
    observe(keys);
    object.passed(commit, end);
    // As resident.picked does in earnest: it counts as being there where it was sent.
    if (outcome !== "ended") object.stored(keys, slot);
  }
}
