// A pool's object that answers as a test says, and what became of what it handed out.

import type {
  EdgePort,
  EdgeSync,
  EdgeSynced,
  HeldGrant,
  HeldWait,
  KeptPick,
  MovedPick,
  NumberedPlace,
  PickRefusal,
  PickRequest,
  PoolPort,
  WorkerRelease,
} from "../../../src/durable/contract.ts";
import { parseDeployment } from "../../../src/config/deployment.ts";
import type { EdgeSnapshot } from "../../../src/scheduler/edge/contracts.ts";
import { type PoolFacts, SnapshotSource } from "../../../src/scheduler/edge/snapshot-source.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { DirectoryIndex, type Pool } from "../../../src/worker/directory-index.ts";
import { EdgePool } from "../../../src/worker/edge/edge-pool.ts";
import type { PickContext } from "../../../src/worker/upstream/pool-picks.ts";
import { PoolView } from "../../../src/worker/upstream/pool-view.ts";
import { WaitingBodies } from "../../../src/worker/upstream/waiting-bodies.ts";
import { RELAY_KEY } from "./relay-key.ts";

/** The first has less to do. */
export const ADDRESSES = ["10.0.0.1:8000", "10.0.0.2:8000"];

/** A pool's snapshot, with a running request more at each of its endpoints than at the one before. `roles`: theirs. */
export function edgeSnapshot(
  addresses: readonly string[] = ADDRESSES,
  facts: Partial<PoolFacts> = {},
  roles: readonly string[] = [],
): EdgeSnapshot {
  const nowMs = Date.now();
  const table = new EndpointTable();
  for (const [i, address] of addresses.entries()) {
    const role = roles[i];
    const labels = role === undefined ? {} : { "llm-d.ai/role": role };
    const slot = table.add({ id: `e${i}`, address, engine: "vllm", labels })!;
    table.applySample(slot, { waiting: 0, running: i, kvUsage: i / 10 }, nowMs);
  }
  const source = new SnapshotSource({ epoch: "e", table, clock: () => nowMs });
  const idle = { configVersion: 1, staleAfterMs: 2_000, saturation: 0, waiting: 0, isHeld: false };
  return source.take({ epoch: "", version: 0 }, { ...idle, ...facts }, true);
}

/** A pool of version 1 of a configuration, as an isolate has it. */
export function edgePool(config: object = {}): Pool {
  const parsed = parseDeployment({
    version: 1,
    pools: [
      {
        name: "eu-1",
        region: "eu",
        models: ["m"],
        agentToken: "agent-token-0123456789",
        relays: [{ url: "http://127.0.0.1:1", keys: [RELAY_KEY] }],
        ...config,
      },
    ],
    tenants: [],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return new DirectoryIndex(1, parsed.value).pool("eu-1")!;
}

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

type Answer = HeldGrant | PickRefusal | HeldWait | NumberedPlace | KeptPick | MovedPick;
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

  readonly syncs: EdgeSync[] = [];
  /** Of the version before, unless a test says otherwise. */
  syncAnswer: () => Promise<EdgeSynced> = () =>
    Promise.reject(new Error('The receiver does not implement the method "sync".'));

  readonly port = (): PoolPort & EdgePort => {
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
      sync: (sync) => {
        this.syncs.push(sync);
        return this.syncAnswer();
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
      edge: edgeSnapshot(),
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

/** Of what was sent: it stays. */
export const keeps =
  (more: Partial<KeptPick> = {}) =>
  async (): Promise<KeptPick> => ({ ok: "kept", ...more });

export const place =
  (askAgainMs: number, more: Partial<NumberedPlace> = {}) =>
  async (): Promise<NumberedPlace> => ({ ok: "queued", askAgainMs, ahead: 7, ...more });

export const fails =
  (flags: object = {}) =>
  (): Promise<never> =>
    Promise.reject(Object.assign(new Error("gone"), flags));

/** Of an attempt that may not be made. */
export const RESERVED_ATTEMPT = 7;

export const hangs = (): Promise<never> => new Promise(() => undefined);

/** What an isolate has of a pool that it was never told of. */
export function newEdge(view = new PoolView(), config: object = {}): EdgePool {
  return new EdgePool({ address: "eu-1", pool: edgePool(config), view, seed: 1 });
}

/** The same, that has just been told of `addresses`. */
export function seenEdge(
  view = new PoolView(),
  addresses: readonly string[] = ADDRESSES,
): EdgePool {
  const edge = newEdge(view);
  const grant = new ScriptedObject().grant({ edge: edgeSnapshot(addresses) });
  edge.granted(grant, PICK, Date.now());
  return edge;
}

/** What a pick needs of its request: a client that stays, in an isolate of its own. */
export function pickContext(object: ScriptedObject, more: Partial<PickContext> = {}): PickContext {
  const view = more.view ?? new PoolView();
  return {
    port: object.port,
    view,
    edge: newEdge(view),
    signal: new AbortController().signal,
    hold: () => undefined,
    hasQueue: true,
    hasOther: false,
    bodies: new WaitingBodies(),
    reserveAttempt: () => RESERVED_ATTEMPT,
    askForCapacity: () => undefined,
    decided: () => undefined,
    waited: () => undefined,
    ...more,
  };
}
