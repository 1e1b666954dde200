// What stands between a body's bytes and the rest of the Worker: one parser for each protocol.

import type { HashedContentRoot } from "../../scheduler/kv/content-keys.ts";
import type { RequestMedia } from "../../scheduler/model/inference-request.ts";
import type { Tenant } from "../tenant.ts";
import type { Checked } from "../openai/errors.ts";
import type { Claimant } from "./registry.ts";

/** Of a tenant, what a body depends on. */
export type BodyTenant = Pick<Tenant, "id" | "salt" | "isolated">;

export interface ParserInput {
  /** The client's, and the engine's: without a query and a slash at the end. */
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The client's; of them a parser reads hints about media only. */
  readonly headers: Pick<Headers, "get">;
}

/** A body that is right, before its model, and so its pool, is settled. */
export interface ParsedRequest {
  /** As the client names it; null if it names none. */
  readonly model: string | null;
  readonly isStream: boolean;
  /** The client's word for which requests share a prefix. */
  readonly promptCacheKey?: string;
  /** For engines that are to be asked for `model`. May be called again for another. */
  prepare(model: string, tenant: BodyTenant): Promise<Prepared>;
}

/** A request that may be forwarded. */
export interface Prepared {
  readonly path: string;
  /** What the engine is asked for. */
  readonly model: string;
  /** What the client calls it, where that is something else. The relay puts it into the answer. */
  readonly clientModel?: string;
  readonly isStream: boolean;
  /** The client's bytes but for the splices: what the engine gets. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** See scheduler/model/inference-request.ts for these four. */
  readonly keys: Uint32Array;
  readonly promptTokens: number;
  readonly outputTokensMax: number | null;
  readonly media?: RequestMedia;
  /** Of the keys' blocks, those up to where the client first marks the end of a cached prefix. */
  readonly markedBlocks?: number;
  /** As the engine gets it. */
  readonly cacheSalt?: string;
  /** What the keys begin with. The relay may learn what the prompt's content became. */
  readonly contentRoot?: HashedContentRoot;
}

/** Reads the bodies of the paths it claims. */
export interface Parser extends Claimant {
  /** The refusal names the first mistake and repeats nothing of the prompt. */
  parse(input: ParserInput): Checked<ParsedRequest>;
}
