// What the coordinator is given, and what it gives back.

import type { TicketClosed } from "../../protocol/messages.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import type { Walk, WalkRequest } from "../walk.ts";
import type { Bootstraps } from "./bootstraps.ts";
import type { CachedTokens } from "./cached-tokens.ts";
import type { ChunkedContext } from "./chunked-walk.ts";
import type { ConnectorTable } from "./connector-table.ts";
import type { StagedApi } from "./connector.ts";
import type { EncodeConnectorName } from "./connectors/encode.ts";
import type { Prefilled } from "./prefill.ts";
import type { StageAddresses } from "./stage-addresses.ts";

/** What is done when a prefill fails. */
export interface PrefillPolicy {
  /** Further prefillers that are asked, where the retry budget allows it; then the decoder computes. */
  readonly retriesMax: number;
  /** Of all that happens before a decoder is asked: encoding, and prefills whose answer it needs. */
  readonly timeoutMs: number;
  /** Of a prefill that runs beside its decode, and so waits in that one's queue, too. */
  readonly pairTimeoutMs: number;
  /** After a 5xx that says nothing of load: the decoder computes, or the client gets the answer. */
  readonly onEngineError: "decode" | "return";
}

/** Fits in what proxies before the relay wait for a head, together with a held head. */
const TIMEOUT_MS = 60_000;
/** SGLang's own patience with a room. */
const PAIR_TIMEOUT_MS = 300_000;

export const PREFILL_POLICY: PrefillPolicy = {
  retriesMax: 1,
  timeoutMs: TIMEOUT_MS,
  pairTimeoutMs: PAIR_TIMEOUT_MS,
  onEngineError: "decode",
};

/** What all requests of a relay share. */
export interface SplitContext extends ChunkedContext {
  readonly connectors: ConnectorTable;
  readonly bootstraps: Bootstraps;
  readonly prefillPolicy: PrefillPolicy;
  /** Absent: nothing is encoded apart. */
  readonly encodeConnector?: EncodeConnectorName;
  readonly registry: MetricRegistry;
}

/** A part of the request's trace. */
export interface Phase {
  /** For the engine that is asked in it. */
  readonly traceparent: string;
  end(attributes: Readonly<Record<string, string | number | boolean>>): void;
}

/** What became of a prefill, and of those that might have followed. */
export interface PrefillReport extends Prefilled {
  /** Nobody else is asked: a decoder that still needs the prompt computes it. */
  readonly isLast: boolean;
}

export interface SplitRequest extends Omit<WalkRequest, "leg"> {
  readonly api: StagedApi;
  /** As the decoder gets it if nothing is split. */
  readonly body: Uint8Array;
  readonly stages: StageAddresses;
  /** On the context's clock: when a decoder is asked whatever has come of encoding and prefill. */
  readonly decodeByMs: number;
  /** What an endpoint is sent besides what its leg says; a leg's own come over these. */
  headers(endpoint: string, phase?: Phase): Readonly<Record<string, string>>;
  onPrefilled(prefilled: PrefillReport): void;
  startPhase(name: "prefill" | "decode"): Phase;
}

export type StageFacts = NonNullable<TicketClosed["stages"]>;

/** A request that was split, or was to be. */
export interface Split {
  readonly walked: Walk;
  /** The prefiller's, for the decoder's usage: that counts what was transferred as cached. */
  readonly cachedTokens: CachedTokens | undefined;
  /** To be told when the client is sent the answer's first byte. */
  onFirstByte(): void;
  /** To be called when the answer has ended, once. */
  end(): Promise<StageFacts>;
}
