// One leg of a request that two engines share: what the engine is told, what the answer carries, what
// becomes of blocks when somebody leaves.

import { setTimeout as sleep } from "node:timers/promises";
import { conflict, type EngineError, internalError } from "../errors.ts";
import type { EngineRunner } from "../engine-runner.ts";
import type { Sequence } from "../model/sequence.ts";
import type { HandOffContent } from "../model/token-content.ts";
import type { HandOffs, Offer } from "./hand-offs.ts";
import type { PeerClient } from "./peer-client.ts";
import { type ClaimFields, type OfferFields, pullName } from "./request.ts";

/** Heartbeats in one lease, as vLLM has them. */
const RENEWALS_PER_LEASE = 6;

/** Of the engine that a leg runs on. Durations are wall milliseconds. */
export interface LegContext {
  readonly runner: EngineRunner;
  readonly handOffs: HandOffs;
  readonly client: PeerClient;
  readonly engineId: string;
  /** Where decoders read from this process. */
  readonly host: string;
  readonly sideChannelPort: () => number;
  readonly leaseMs: number;
  readonly bootstrapMs: number;
  readonly waitingMs: number;
  readonly loadFailurePolicy: "fail" | "recompute";
}

/** In the order of a request: begin, then from the engine transfer or computed, closed at the end. */
export interface Leg {
  readonly stage: "prefill" | "decode";
  readonly content: HandOffContent;
  /** Whether one token is all that is generated, whatever was asked for. */
  readonly isPrefillOnly: boolean;
  /** Before the engine gets it. An error is what the request is refused with. */
  begin(signal: AbortSignal): Promise<EngineError | undefined>;
  /** The prompt is computed; gives what an answer tells of it. */
  computed(sequence: Sequence): object;
  transfer(sequence: Sequence, tokenCount: number): void;
  expired(): void;
  /** What a client is told whose prompt could not be read. */
  readonly failure: EngineError;
  /** The answer has left, or the client has. */
  closed(): void;
}

/** Computes a prompt, and holds its blocks for a decoder. */
export class OfferLeg implements Leg {
  readonly stage = "prefill";
  readonly content = { isHeld: true } as const;
  readonly isPrefillOnly: boolean;
  readonly failure = internalError();
  readonly #context: LegContext;
  readonly #fields: OfferFields;
  readonly #requestId: string;
  #offer: Offer | undefined;
  #isComputed = false;

  /** `requestId` is new to the engine. */
  constructor(context: LegContext, fields: OfferFields, requestId: string) {
    this.#context = context;
    this.#fields = fields;
    this.#requestId = requestId;
    // SGLang's prefill engines stop by themselves; vLLM's are told to.
    this.isPrefillOnly = fields.mustMeet;
  }

  async begin(signal: AbortSignal): Promise<EngineError | undefined> {
    const { handOffs, engineId, bootstrapMs } = this.#context;
    const name = this.#fields.name ?? pullName(engineId, this.#requestId);
    this.#offer = handOffs.offer(name);
    if (this.#offer === undefined) return conflict("Its transfer id or room is in use.");
    if (!this.#fields.mustMeet) return undefined;
    if (await this.#offer.met(bootstrapMs, signal)) return undefined;
    this.#offer.withdraw();
    return lostPeer("Prefill bootstrap failed", "KVPoll.Bootstrapping");
  }

  computed(sequence: Sequence): object {
    const { runner, leaseMs } = this.#context;
    this.#isComputed = true;
    const prompt = {
      tokens: sequence.promptCount,
      blockIds: [...sequence.blocks],
      renew: () => runner.renew(sequence),
      release: () => {
        const isReleased = runner.release(sequence);
        this.#offer!.withdraw();
        return isReleased;
      },
    };
    this.#offer!.computed(prompt);
    if (this.#fields.name !== undefined) return {};
    return { kv_transfer_params: this.#pullParams(prompt, Date.now() + leaseMs) };
  }

  transfer(): void {
    // Nothing is read for a prefiller.
  }

  expired(): void {
    this.#offer?.withdraw();
  }

  closed(): void {
    if (!this.#isComputed) this.#offer?.withdraw();
  }

  /** As vLLM's NixlConnector tells a router. */
  #pullParams(
    { tokens, blockIds }: { readonly tokens: number; readonly blockIds: readonly number[] },
    endsAtMs: number,
  ) {
    const { engineId, host, sideChannelPort } = this.#context;
    return {
      do_remote_prefill: true,
      do_remote_decode: false,
      remote_block_ids: [blockIds],
      remote_engine_id: engineId,
      remote_request_id: this.#requestId,
      remote_host: host,
      remote_port: sideChannelPort(),
      tp_size: 1,
      remote_num_tokens: tokens,
      remote_blocks_expiry_time: endsAtMs / 1_000,
    };
  }
}

/** Reads a prompt that another engine computed. */
export class ClaimLeg implements Leg {
  readonly stage = "decode";
  readonly content = { isRemote: true } as const;
  readonly isPrefillOnly = false;
  readonly failure: EngineError;
  readonly #context: LegContext;
  readonly #fields: ClaimFields;
  readonly #left = new AbortController();
  #heartbeat: NodeJS.Timeout | undefined;
  /** Whether the prefiller knows that we are through with it. */
  #isDone = false;

  constructor(context: LegContext, fields: ClaimFields) {
    this.#context = context;
    this.#fields = fields;
    this.failure = fields.isStrict
      ? lostPeer("Decode transfer failed", "KVPoll.WaitingForInput")
      : internalError();
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the other kind of leg waits
  async begin(): Promise<undefined> {
    if (this.#fields.mayWait) return;
    const { client, leaseMs } = this.#context;
    this.#heartbeat = setInterval(
      () => void client.renew(this.#fields),
      leaseMs / RENEWALS_PER_LEASE,
    );
  }

  computed(): object {
    return {};
  }

  transfer(sequence: Sequence, tokenCount: number): void {
    // Never rejects: what goes wrong is what the policy is for.
    void this.#read(sequence, tokenCount);
  }

  expired(): void {
    // A decoder holds nothing for others.
  }

  closed(): void {
    clearInterval(this.#heartbeat);
    this.#left.abort();
    // SGLang's decoders just leave.
    if (!this.#isDone && !this.#fields.isStrict) void this.#context.client.done(this.#fields);
    this.#isDone = true;
  }

  async #read(sequence: Sequence, tokenCount: number): Promise<void> {
    const { runner, client, waitingMs, loadFailurePolicy } = this.#context;
    const { blockIds, mayWait, peer, isStrict } = this.#fields;
    const { signal } = this.#left;
    const waitMs = mayWait ? waitingMs : 0;
    let isRead = false;
    if (await client.claim(this.#fields, { blockIds, waitMs }, signal)) {
      const durationMs = runner.beginTransfer(peer, tokenCount);
      await sleep(durationMs, undefined, { signal }).catch(() => undefined);
      // Whoever died meanwhile does not say that it was read.
      if (!signal.aborted) isRead = await client.done(this.#fields);
    }
    if (signal.aborted) return;
    this.#isDone = isRead;
    clearInterval(this.#heartbeat);
    if (isRead) runner.received(sequence);
    else runner.notReceived(sequence, isStrict ? "fail" : loadFailurePolicy);
  }
}

/** SGLang's error of a leg whose other one did not come or is gone. */
function lostPeer(what: string, state: string): EngineError {
  const message = `${what} with exception KVTransferError: Request timed out in ${state}`;
  return { status: 500, message, type: "InternalServerError", param: null };
}
