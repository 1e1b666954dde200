// Ways to decide that are compared, and what an isolate is to the simulation.

import type { EdgeSync, EdgeSynced, PickRequest } from "../../../src/durable/contract.ts";
import type { LocalCommit, WhereReason } from "../../../src/scheduler/edge/contracts.ts";
import type { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import type { InferenceRequest } from "../../../src/scheduler/model/inference-request.ts";
import type { Rng } from "../../../src/scheduler/support/rng.ts";
import { EdgeMind } from "./edge-mind.ts";
import { randomMind, twoChoicesMind } from "./naive-minds.ts";
import type { EdgeTopology } from "./topology.ts";

/** What an isolate has decided of a request. */
export interface Decided {
  /** Why there. */
  readonly reason: WhereReason | "naive";
  /** Undefined: the object is asked. */
  readonly local: { readonly slots: readonly number[]; readonly ticket: string } | undefined;
  /** Where it would have gone, or goes, counted there until the object answers. */
  readonly proposal?: Proposal;
  /** It goes there, and the object is asked about it meanwhile: as it is told. */
  readonly sent?: LocalCommit;
}

interface Proposal {
  readonly slot: number;
  /** Of the dispatch. */
  readonly number: number;
}

/** What an isolate asks with a pick. */
export type Asked = Pick<PickRequest, "edge" | "credit">;

/** One isolate's part in decisions. */
export interface Mind {
  decide(request: InferenceRequest, shard: number): Decided;
  /** To go along with a pick. */
  asks?(shard: number): Asked;
  /** A pick's answer has come, and where it sends the request. */
  answered?(shard: number, answer: EdgeSynced, at: AnsweredAt): void;
}

export interface AnsweredAt {
  readonly request: InferenceRequest;
  readonly slot: number | undefined;
  readonly proposal: Proposal | undefined;
  readonly askedAtMs: number;
}

/** What the simulation gives a mind. */
export interface MindContext {
  readonly topology: EdgeTopology;
  /** All isolates' own: the default profile learns nothing from its picks. */
  readonly picker: EndpointPicker;
  /** Random at each construction of an isolate. */
  readonly epoch: string;
  readonly rng: Rng;
  readonly nowMs: () => number;
  readonly after: (ms: number, event: () => void) => void;
  /** Calls an object off requests' way. Either way may get lost: then nobody calls back. */
  readonly sync: (shard: number, sync: EdgeSync, onSynced: (synced: EdgeSynced) => void) => void;
  /** Likewise asks for requests running, waiting and under way, by slot: all that is known without a digest. */
  readonly loads: (shard: number, onLoads: (loads: Int32Array) => void) => void;
}

export interface Way {
  readonly name: string;
  /** In one sentence. */
  readonly about: string;
  /** Asking takes no time, which nobody has. */
  readonly isInstant?: boolean;
  /** By what requests are spread over the pool's objects, where it has several. */
  readonly sharding: "first block" | "split";
  /** Absent: every request is the object's to decide. */
  readonly createMind?: (context: MindContext) => Mind;
}

export const AUTO: Way = {
  name: "auto",
  about: "The shipped rule: alone where that costs less than asking",
  sharding: "split",
  createMind: (context) => new EdgeMind(context, "auto"),
};

export const INSTANT: Way = {
  name: "instant",
  about: "Every request is the object's to decide, and asking takes no time: nobody has that",
  isInstant: true,
  sharding: "split",
};

export const ASK: Way = {
  name: "ask",
  about: "Every request is the object's to decide",
  sharding: "split",
};

export const WAYS: readonly Way[] = [
  AUTO,
  INSTANT,
  ASK,
  {
    name: "local",
    about: "Alone whenever there is a snapshot, credit and room, whatever asking could save",
    sharding: "split",
    createMind: (context) => new EdgeMind(context, "local"),
  },
  {
    name: "two choices",
    about: "Alone: the less loaded of two, by loads of up to a second ago",
    sharding: "split",
    createMind: twoChoicesMind,
  },
  { name: "random", about: "Alone: any endpoint", sharding: "split", createMind: randomMind },
];

/** Over several objects, as long as nobody looks at what comes behind the first block. */
export const BY_FIRST_BLOCK: Way = {
  ...ASK,
  name: "ask by first block",
  sharding: "first block",
};
