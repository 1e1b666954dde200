// How one engine family hands KV caches from a prefiller to a decoder: what each leg's body and headers say.
// A connector is pure. Bytes come in and go out; who is asked when, what happens on failures and who sees the
// answer is the coordinator's.
//
//   sequential   prefill ──answer──► decode        (the decoder pulls what the answer names)
//   concurrent   prefill ∥ decode                  (both meet under a name that is chosen here)

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
  /** What the prefiller's bootstrap port said; only where the connector asks it. */
  readonly bootstrap?: unknown;
  /** Names this hand-off; new for each, so that a leg that comes late meets nobody else's. */
  readonly transferId: string;
}

/** What one engine is sent. */
export interface Leg {
  readonly body: Uint8Array;
  /** Besides those that every leg has. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface HandOff {
  readonly prefill: Leg;
  /**
   * The decoder's leg. `prefilled` is the body of the prefiller's 2xx answer; undefined where both legs begin
   * together. Without what it needs in the answer, the leg makes the decoder compute the prompt itself.
   */
  decode(prefilled: Uint8Array | undefined): Leg;
}

export interface Connector {
  readonly order: "sequential" | "concurrent";
  /** Asked of the prefiller's host before, and kept for a while: a GET to this port and path. */
  readonly bootstrap?: { readonly port: number; readonly path: string };
  /**
   * Undefined where the body is no JSON object that can be edited: the decoder gets it as it is, and says so
   * to the client.
   */
  handOff(request: StagedRequest, pairing: Pairing): HandOff | undefined;
}
