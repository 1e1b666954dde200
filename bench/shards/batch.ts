// A pool's object that takes many picks with one call, so that calls are not what is measured.

import type { PickGrant, PickRequest, WorkerEnd } from "../../src/durable/contract.ts";
import type { ShardMap } from "../../src/scheduler/shards/contracts.ts";

export interface Batch {
  readonly picks: readonly PickRequest[];
  readonly ends: readonly BatchEnd[];
}

/** Of a request that this object has let through. */
export interface BatchEnd {
  readonly requestId: string;
  readonly end: WorkerEnd;
}

/** In the order of the picks. */
export interface BatchAnswer {
  /** The endpoint; or why there was no grant. */
  readonly answers: readonly (
    | { readonly ok: true; readonly endpoint: string }
    | { readonly ok: false; readonly why: string }
  )[];
  readonly shards?: ShardMap;
}

/** What the object answers within its own process. */
export interface Handle {
  settle(end: WorkerEnd): void;
  [Symbol.dispose](): void;
}
export type LocalAnswer =
  | (Pick<PickGrant, "ok" | "endpoints"> & {
      readonly edge?: { readonly shards?: ShardMap };
      readonly handle: Handle;
    })
  | { readonly ok: false; readonly reason: string }
  | { readonly ok: "queued" | "moved" };

/** The grants of one object that are in use. */
export class Batches {
  readonly #pick: (request: PickRequest) => LocalAnswer | Promise<LocalAnswer>;
  readonly #handles = new Map<string, Handle>();

  constructor(pick: (request: PickRequest) => LocalAnswer | Promise<LocalAnswer>) {
    this.#pick = pick;
  }

  async take({ picks, ends }: Batch): Promise<BatchAnswer> {
    for (const { requestId, end } of ends) {
      const handle = this.#handles.get(requestId);
      this.#handles.delete(requestId);
      handle?.settle(end);
      handle?.[Symbol.dispose]();
    }
    let shards: ShardMap | undefined;
    const answers: BatchAnswer["answers"][number][] = [];
    for (const pick of picks) {
      const answer = await this.#pick(pick);
      if (answer.ok !== true) {
        answers.push({ ok: false, why: answer.ok === false ? answer.reason : answer.ok });
        continue;
      }
      this.#handles.set(pick.request.requestId, answer.handle);
      shards = answer.edge?.shards ?? shards;
      answers.push({ ok: true, endpoint: answer.endpoints[0]! });
    }
    return { answers, ...(shards === undefined ? {} : { shards }) };
  }
}
