// The object's side of decisions at the edge: snapshots, credit, and commits into the ledger.

import type { EdgeSync, EdgeSynced } from "../../../src/durable/contract.ts";
import { CreditIssuer } from "../../../src/scheduler/credits/credit-issuer.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import { SnapshotSource } from "../../../src/scheduler/edge/snapshot-source.ts";
import { type PoolObject, slotOfAddress } from "./pool-object.ts";

export interface EdgeDeskOptions {
  readonly object: PoolObject;
  readonly epoch: string;
  readonly clock: () => number;
}

export class EdgeDesk {
  readonly issuer: CreditIssuer;
  readonly #options: EdgeDeskOptions;
  readonly #source: SnapshotSource;

  constructor(options: EdgeDeskOptions) {
    const { object, epoch, clock } = options;
    this.#options = options;
    this.issuer = new CreditIssuer({ epoch, startedAtMs: clock() });
    this.#source = new SnapshotSource({ epoch, table: object.table, clock });
  }

  /** Takes in what is told, and answers what is asked. */
  answer({ known, credit, commits = [] }: Partial<EdgeSync>, isCurrent: boolean): EdgeSynced {
    const { object, clock } = this.#options;
    for (const commit of commits) this.#commit(commit);
    const nowMs = clock();
    const facts = {
      configVersion: 1,
      staleAfterMs: object.staleAfterMs,
      saturation: object.saturation(),
      waiting: object.gate.waiting,
      isHeld: object.gate.waiting > 0,
    };
    return {
      ...(known === undefined ? {} : { snapshot: this.#source.take(known, facts, isCurrent) }),
      ...(credit === undefined ? {} : { credit: this.issuer.grant(credit, this.#room(), nowMs) }),
    };
  }

  #room(): number {
    return 1_000_000;
  }

  #commit(commit: LocalCommit): void {
    const { object } = this.#options;
    const { ticket, attempt, requestId, tenant, model, keys, endpoints } = commit;
    const slot = slotOfAddress(endpoints[0]!);
    object.ledger.opened(ticket, attempt, slot, { requestId, tenant, model });
    object.tree.insert(keys, slot);
  }
}
