// Signs requests for a relay as Fairlead's Worker does, for a Worker that does not.

import { createHash, createHmac } from "node:crypto";
import { STAGE_HEADERS } from "../src/agents/protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../src/agents/protocol/limits.ts";
import { signaturePayload, signedHeaders } from "../src/agents/protocol/signature.ts";
import { CHAT_PATH } from "./conversation.ts";

/** What the relay knows the signer by. */
export interface RelayKey {
  readonly id: string;
  readonly secret: string;
}

/** Makes the headers of one request after another. */
export class RequestSigner {
  readonly #key: RelayKey;
  readonly #destination: string;
  readonly #tenant: string;
  /** Of each body, in order. */
  readonly #bodySha256: readonly string[];
  #tickets = 0;

  constructor(options: {
    readonly key: RelayKey;
    /** `host:port` of the engine. */
    readonly destination: string;
    readonly tenant: string;
    readonly bodies: readonly string[];
  }) {
    this.#key = options.key;
    this.#destination = options.destination;
    this.#tenant = options.tenant;
    this.#bodySha256 = options.bodies.map((body) =>
      createHash("sha256").update(body).digest("hex"),
    );
  }

  /**
   * Headers of a request with the body at `index`, with a ticket of its own. A relay takes them for
   * `signatureLifetimeMsMax` from now.
   */
  sign(index: number): Record<string, string> {
    this.#tickets += 1;
    const request = {
      keyId: this.#key.id,
      method: "POST",
      path: CHAT_PATH,
      tenant: this.#tenant,
      // No object gives out such a name.
      ticket: `bench-${this.#tickets.toString(36)}`,
      attempt: 1,
      destinations: this.#destination,
      stages: STAGE_HEADERS.map(() => ""),
      expiresAtMs: Date.now() + PROTOCOL_LIMITS.signatureLifetimeMsMax,
      bodySha256: this.#bodySha256[index]!,
    };
    const signature = createHmac("sha256", this.#key.secret)
      .update(signaturePayload(request))
      .digest("hex");
    return Object.fromEntries(signedHeaders(request, signature));
  }
}
