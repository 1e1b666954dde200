// A pool's object that answers as a test says, and what became of what it handed out.

import type {
  HeldGrant,
  HeldWait,
  NumberedPlace,
  PickRefusal,
  PickRequest,
  PoolPort,
  WorkerRelease,
} from "../../../src/durable/contract.ts";
import type { PickContext } from "../../../src/worker/upstream/pool-picks.ts";
import { PoolView } from "../../../src/worker/upstream/pool-view.ts";
import { WaitingBodies } from "../../../src/worker/upstream/waiting-bodies.ts";

export const SNAPSHOT = { addresses: ["10.0.0.1:8000", "10.0.0.2:8000"], loads: [0, 4] };

export const PICK: PickRequest = {
  request: {
    requestId: "fl-1",
    model: "m",
    tenant: "acme",
    priority: 3,
    keys: new Uint32Array(4),
    promptTokens: 900,
    outputTokensMax: 100,
    bodyBytes: 4_000,
  },
  attempt: 1,
  exclude: [],
  flow: { fairnessId: "acme", weight: 1, receivedAtMs: 990_000, waitsForEndpoints: true },
};

type Answer = HeldGrant | PickRefusal | HeldWait | NumberedPlace;
type Turn = HeldGrant | PickRefusal | NumberedPlace;

/** Every call is answered by the next of `answers`. */
export class ScriptedObject {
  readonly calls: PickRequest[] = [];
  readonly left: [requestId: string, attempt: number][] = [];
  readonly released: WorkerRelease[] = [];
  readonly learned: Uint32Array[] = [];
  grantsDisposed = 0;
  waitsDisposed = 0;
  portCount = 0;
  readonly #answers: (() => Promise<Answer>)[];

  constructor(...answers: (() => Promise<Answer>)[]) {
    this.#answers = answers;
  }

  readonly port = (): PoolPort => {
    this.portCount++;
    return {
      pick: (request) => {
        this.calls.push(request);
        return this.#answers.shift()!();
      },
      leave: (...place) => {
        this.left.push(place);
        return Promise.reject(new Error("of the version before"));
      },
    };
  };

  /** More answers, made of what this object hands out. */
  goOn(...answers: (() => Promise<Answer>)[]): this {
    this.#answers.push(...answers);
    return this;
  }

  readonly grants = async (): Promise<HeldGrant> => this.grant();

  grant(more: Partial<HeldGrant> = {}): HeldGrant {
    return {
      ok: true,
      ticket: "e-1",
      endpoints: ["10.0.0.9:8000"],
      objectEpoch: "e",
      snapshot: SNAPSHOT,
      handle: {
        release: async (how) => {
          this.released.push(how);
        },
        learn: async (keys) => {
          this.learned.push(keys);
        },
        settle: () => Promise.resolve(),
      },
      [Symbol.dispose]: () => {
        this.grantsDisposed++;
      },
      ...more,
    };
  }

  /** A held wait of which `wait` answers by `turn`. */
  waits(turn: () => Promise<Turn>, more: Partial<HeldWait> = {}): () => Promise<HeldWait> {
    return async () => ({
      ok: "queued",
      handle: { wait: turn },
      [Symbol.dispose]: () => {
        this.waitsDisposed++;
      },
      ...more,
    });
  }
}

export const refuses =
  (reason: PickRefusal["reason"] = "rejected-saturated") =>
  async (): Promise<PickRefusal> => ({ ok: false, reason, detail: "full", retryAfterMs: 7_000 });

export const place =
  (askAgainMs: number, more: Partial<NumberedPlace> = {}) =>
  async (): Promise<NumberedPlace> => ({ ok: "queued", askAgainMs, ahead: 7, ...more });

export const fails =
  (flags: object = {}) =>
  (): Promise<never> =>
    Promise.reject(Object.assign(new Error("gone"), flags));

export const hangs = (): Promise<never> => new Promise(() => undefined);

/** A view that has just seen SNAPSHOT. */
export function seenView(): PoolView {
  const view = new PoolView();
  view.update(SNAPSHOT, Date.now());
  return view;
}

/** What a pick needs of its request: a client that stays, in an isolate of its own. */
export function pickContext(object: ScriptedObject, more: Partial<PickContext> = {}): PickContext {
  return {
    port: object.port,
    view: new PoolView(),
    signal: new AbortController().signal,
    hold: () => undefined,
    hasQueue: true,
    hasOther: false,
    bodies: new WaitingBodies(),
    askForCapacity: () => undefined,
    waited: () => undefined,
    ...more,
  };
}
