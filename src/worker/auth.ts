// Who is calling: a tenant, an administrator or an agent. All three present a bearer secret; none of
// them is repeated in an answer or a log.

import type { DirectoryIndex, Pool } from "./directory-index.ts";
import type { Tenant } from "./tenant.ts";
import { secretsEqual, sha256Hex } from "./crypto.ts";
import { type ApiError, type Checked, refuse } from "./openai/errors.ts";

/** Longer ones cannot be configured, so they are not hashed either. */
const SECRET_CHARS_MAX = 512;

/** Keys whose hash an isolate remembers. Past it all are forgotten. */
export const KNOWN_KEYS_MAX = 1_024;
/** Hashes of keys that were some tenant's: what anybody else presents is not kept. */
const knownKeys = new Map<string, string>();

const BEARER = /^bearer +([\x21-\x7e]+) *$/i;

/** What `resolveTenant` would say, where the key's hash is remembered. */
export function knownTenant(
  request: Request,
  directory: DirectoryIndex,
): Checked<Tenant> | undefined {
  const hash = knownKeys.get(bearerSecret(request) ?? "");
  const tenant = hash === undefined ? undefined : directory.tenantOf(hash);
  return tenant === undefined ? undefined : { ok: true, value: tenant };
}

/** The tenant whose key the request carries. */
export async function resolveTenant(
  request: Request,
  directory: DirectoryIndex,
): Promise<Checked<Tenant>> {
  const key = bearerSecret(request);
  if (key === undefined) {
    return unauthorized(
      "invalid_api_key",
      "No API key was given. Send it as `Authorization: Bearer <key>`.",
    );
  }
  // A lookup by hash: its time says nothing about any key.
  const known = knownKeys.get(key);
  const hash = known ?? (await keyHash(key));
  const tenant = directory.tenantOf(hash);
  if (tenant !== undefined) {
    if (known === undefined) remember(key, hash);
    return { ok: true, value: tenant };
  }
  return unauthorized(
    "invalid_api_key",
    "The API key is not valid. Check it, or ask the operator of this deployment for one.",
  );
}

function remember(key: string, hash: string): void {
  if (knownKeys.size >= KNOWN_KEYS_MAX) knownKeys.clear();
  knownKeys.set(key, hash);
}

/** Undefined for an administrator; otherwise why the caller is none. */
export async function adminRefusal(request: Request, env: Env): Promise<ApiError | undefined> {
  // The binding's generated type cannot say that the secret may be missing.
  const adminKey = env.FAIRLEAD_ADMIN_KEY as string | undefined;
  if (adminKey === undefined || adminKey === "") {
    return {
      code: "admin_key_not_configured",
      message:
        "The admin API is off: this deployment has no FAIRLEAD_ADMIN_KEY. " +
        "Set it with `npx wrangler secret put FAIRLEAD_ADMIN_KEY`.",
      param: null,
    };
  }
  const presented = bearerSecret(request);
  if (presented !== undefined && (await secretsEqual(presented, adminKey))) return undefined;
  return unauthorized(
    "invalid_admin_key",
    "This needs the deployment's admin key, as `Authorization: Bearer <FAIRLEAD_ADMIN_KEY>`.",
  ).error;
}

/** Undefined for an agent of `pool`. A pool that does not exist is refused in the same way. */
export async function agentRefusal(
  request: Request,
  pool: Pool | undefined,
): Promise<ApiError | undefined> {
  const presented = bearerSecret(request);
  if (
    pool !== undefined &&
    presented !== undefined &&
    (await secretsEqual(await keyHash(presented), pool.config.agentToken))
  ) {
    return undefined;
  }
  return unauthorized(
    "invalid_agent_token",
    "No pool of this name has this agent token. Send the pool's `agentToken` as a bearer token.",
  ).error;
}

function unauthorized(
  code: "invalid_api_key" | "invalid_admin_key" | "invalid_agent_token",
  message: string,
): { readonly ok: false; readonly error: ApiError } {
  const { error } = refuse(code, message);
  return { ok: false, error: { ...error, headers: { "www-authenticate": "Bearer" } } };
}

function bearerSecret(request: Request): string | undefined {
  const secret = BEARER.exec(request.headers.get("authorization") ?? "")?.[1];
  return secret !== undefined && secret.length <= SECRET_CHARS_MAX ? secret : undefined;
}

/** In the form of the configuration. */
async function keyHash(key: string): Promise<string> {
  return `sha256:${await sha256Hex(key)}`;
}
