// How one engine family hands KV caches from a prefiller to a decoder: what each leg's body and headers say.
// A connector is pure. Bytes come in and go out; who is asked when, what happens on failures and who sees the
// answer is the coordinator's.
//
//   sequential   prefill ──answer──► decode        (the decoder pulls what the answer names)
//   concurrent   prefill ∥ decode                  (both meet under a name that is chosen here)

/** Values of llm-d's `--kv-connector`. */
export const CONNECTOR_NAMES = [
  "nixlv2",
  "shared-storage",
  "sglang",
  "mooncake",
  "offloading",
] as const;

export type ConnectorName = (typeof CONNECTOR_NAMES)[number];

/** The engine APIs that can be split; they name token limits differently. */
export type StagedApi = "chat" | "completions" | "messages" | "responses" | "generate";

/** A request to split. */
export interface StagedRequest {
  readonly api: StagedApi;
  /** A JSON object, as the decoder would get it if nothing were split. */
  readonly body: Uint8Array;
}

/** Who takes part. Addresses are `host:port`, checked against the endpoints that were discovered. */
export interface Pairing {
  readonly prefiller: string;
  readonly decoder: string;
  /** Holds blocks that the prefiller may copy. */
  readonly kvSource?: string;
  /** What the prefiller's bootstrap port said, usable; only where the connector asks it. */
  readonly bootstrap?: unknown;
  /** The data-parallel rank that is to prefill; only where the connector can ask for one. */
  readonly prefillRank?: { readonly rank: number; readonly count: number };
  /** Names this hand-off; new for each, so that a leg that comes late meets nobody else's. */
  readonly transferId: string;
}

/** A decoder that is not paired, and an endpoint that holds blocks of the prompt. */
export type Pull = Required<Pick<Pairing, "decoder" | "kvSource" | "transferId">>;

/** What one engine is sent. */
export interface Leg {
  readonly body: Uint8Array;
  /** Besides those that every leg has. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface DecodeLeg extends Leg {
  /** False where the decoder is told nothing of a prefill, and computes the prompt itself. */
  readonly isHandedOver: boolean;
}

/** What a decoder is asked before anybody prefills. */
export interface Probe {
  readonly leg: Leg;
  /**
   * Whether the answer, of which `begun` has come so far, is the client's or says that the prompt must be
   * prefilled first; undefined until more has come. Decided at the latest when the answer is whole.
   */
  judge(
    begun: Uint8Array,
    is: { stream: boolean; whole: boolean },
  ): "answer" | "prefill" | undefined;
}

export interface HandOff {
  /** Absent: prefill is asked at once. */
  readonly probe?: Probe;
  readonly prefill: Leg;
  /**
   * The decoder's leg. `prefilled` is the body of the prefiller's 2xx answer; undefined where both legs begin
   * together. Without what it needs in the answer, the leg makes the decoder compute the prompt itself.
   */
  decode(prefilled: Uint8Array | undefined): DecodeLeg;
}

/** A GET, over plain HTTP, whose answer is kept for a while. */
export interface BootstrapQuery {
  readonly port: number;
  readonly path: string;
  /** Whether the JSON that came names an engine to hand over to; else that counts as no answer. */
  isUsable(said: unknown): boolean;
}

export interface Connector {
  readonly order: "sequential" | "concurrent";
  /** The name that llm-d's sidecar has for it; also a metric label. */
  readonly name: ConnectorName;
  /** Its decoders refuse a prompt that nobody prefills. Absent: they compute it themselves. */
  readonly needsPrefill?: true;
  /** Asked of the prefiller's host before a hand-off. */
  readonly bootstrap?: BootstrapQuery;
  /**
   * Undefined where the body is no JSON object that can be edited: the decoder gets it as it is, and says so
   * to the client.
   */
  handOff(request: StagedRequest, pairing: Pairing): HandOff | undefined;
  /**
   * The decoder's leg where nobody prefills and it may copy blocks from a third. Absent where the engine
   * cannot; undefined as with `handOff`, and where the source is the decoder itself.
   */
  pull?(request: StagedRequest, pull: Pull): Leg | undefined;
}
