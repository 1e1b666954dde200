// The engine's `cache_salt`: requests share cached prefixes only within one salt. A client's own salt
// is made the tenant's, so that it cannot name another tenant's cache; an isolated tenant always has
// one.

import { type ByteEdit, insertMember, type JsonSpans } from "../../agents/protocol/json-spans.ts";
import { sha256Hex } from "../crypto.ts";
import type { Tenant } from "../tenant.ts";

const encoder = new TextEncoder();

export interface SaltedBody {
  /** What the engine is told; undefined: nothing. It enters the content keys, too. */
  readonly salt: string | undefined;
  readonly edits: readonly ByteEdit[];
}

/** What `saltBody` gives where nothing is salted. */
export const UNSALTED: SaltedBody = { salt: undefined, edits: [] };

/** `clientSalt` is the body's; null counts as none. */
export function isSalted(
  clientSalt: string | null | undefined,
  tenant: Pick<Tenant, "isolated">,
): boolean {
  return tenant.isolated || (clientSalt !== undefined && clientSalt !== null);
}

/** `clientSalt` is the body's, which `scan` describes; null counts as none. */
export async function saltBody(
  scan: JsonSpans,
  clientSalt: string | null | undefined,
  tenant: Pick<Tenant, "id" | "salt" | "isolated">,
): Promise<SaltedBody> {
  if (!isSalted(clientSalt, tenant)) return UNSALTED;
  const facts = ["fairlead-cache-salt-v1", tenant.id, tenant.salt ?? "", clientSalt ?? ""];
  const salt = await sha256Hex(JSON.stringify(facts));
  const span = scan.spans.get("cache_salt");
  const edit =
    span === undefined
      ? insertMember(scan, encoder.encode(`"cache_salt":"${salt}"`))
      : { start: span.valueStart, end: span.valueEnd, bytes: encoder.encode(`"${salt}"`) };
  return { salt, edits: [edit] };
}
