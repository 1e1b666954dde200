// /admin/v1: configuration, switches, and the questions an operator has. The router has checked the
// admin key before any of this.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import { DEPLOYMENT_LIMITS, parseDeployment, type PoolConfig } from "../../config/deployment.ts";
import type { PoolAddress } from "../../config/pool-address.ts";
import { redactDeployment } from "../../config/secrets.ts";
import { settingsPatchSchema } from "../../config/settings.ts";
import type { DirectoryPut } from "../../durable/directory/contract.ts";
import type { Explanation } from "../../scheduler/decisions/document.ts";
import { SHARDS_MAX } from "../../scheduler/shards/contracts.ts";
import type { AppEnv } from "../call.ts";
import { forgetDirectory, readDirectory, readStored } from "../directory.ts";
import { type ApiError, type Checked, errorResponse, refuse } from "../openai/errors.ts";
import { parseJsonBody } from "../openai/parse-json.ts";
import { readBody } from "../openai/read-body.ts";
import { parseRequestId } from "../request-id.ts";
import { forgetSettings } from "../settings.ts";
import { askPool, askShard, hasShard } from "./ask-pool.ts";

const SETTINGS_BYTES_MAX = 4_096;

/** GET /admin/v1/config */
export async function getConfig(c: Context<AppEnv>): Promise<Response> {
  const read = await readStored(c.env, -1);
  if ("unchanged" in read) throw new Error("invariant broken: version -1 is in force");
  const { version, repaired } = read;
  const config = redactDeployment(read.deployment);
  return Response.json(
    { version, config, ...(repaired === undefined ? {} : { repaired }) },
    { headers: { etag: `"${version}"`, "cache-control": "no-store" } },
  );
}

/** PUT /admin/v1/config */
export async function putConfig(c: Context<AppEnv>): Promise<Response> {
  const expected = parseIfMatch(c.req.header("if-match"));
  if (!expected.ok) return errorResponse(expected.error);
  const body = await readJson(c, DEPLOYMENT_LIMITS.configBytesMax);
  if (!body.ok) return errorResponse(body.error);
  const parsed = parseDeployment(body.value);
  if (!parsed.ok) return putRefusal({ ok: false, reason: "invalid", issues: parsed.issues });
  const put = await c.env.CONTROL.putConfig(parsed.value, expected.value);
  if (!put.ok) return putRefusal(put);
  forgetDirectory();
  const { version, pending, notes } = put;
  const answer = { version, pending, ...(notes === undefined ? {} : { notes }) };
  return Response.json(answer, { headers: { etag: `"${version}"` } });
}

/** GET /admin/v1/config/versions */
export async function listVersions(c: Context<AppEnv>): Promise<Response> {
  return Response.json({ versions: await c.env.CONTROL.configVersions() });
}

/** GET /admin/v1/config/versions/<n> */
export async function getVersion(c: Context<AppEnv>): Promise<Response> {
  const version = Number(c.req.param("version"));
  const config = Number.isSafeInteger(version) ? await c.env.CONTROL.configVersion(version) : null;
  if (config !== null) return Response.json({ version, config });
  const message = "No such version is stored. GET /admin/v1/config/versions lists them.";
  return errorResponse(refuse("not_found", message).error);
}

/** GET /admin/v1/settings */
export async function getSettings(c: Context<AppEnv>): Promise<Response> {
  return Response.json(await c.env.CONTROL.settings());
}

/** PATCH /admin/v1/settings */
export async function patchSettings(c: Context<AppEnv>): Promise<Response> {
  const body = await readJson(c, SETTINGS_BYTES_MAX);
  if (!body.ok) return errorResponse(body.error);
  const patch = settingsPatchSchema.safeParse(body.value);
  if (!patch.success) {
    const [issue] = patch.error.issues;
    const param = issue!.path.length === 0 ? null : issue!.path.join(".");
    return errorResponse(refuse("invalid_value", `${issue!.message}.`, param).error);
  }
  const updated = await c.env.CONTROL.updateSettings(patch.data);
  if (!updated.ok) return errorResponse(refuse("invalid_value", updated.message).error);
  forgetSettings();
  return Response.json(updated.settings);
}

/** GET /admin/v1/explain/<request id> */
export async function explainRequest(c: Context<AppEnv>): Promise<Response> {
  const requestId = c.req.param("requestId") ?? "";
  const parsed = parseRequestId(requestId);
  if (parsed === undefined || parsed.shard >= SHARDS_MAX) {
    const message =
      "That is not a Fairlead request id. Take it from the answer's x-fairlead-request-id header.";
    return errorResponse(refuse("invalid_value", message, "requestId").error);
  }
  const directory = await readDirectory(c.env, (work) => c.executionCtx.waitUntil(work));
  let refusal: ApiError | undefined;
  for (const { config } of directory?.poolsTagged(parsed.poolTag) ?? []) {
    const asked = await explainIn(c, config, { requestId, shard: parsed.shard });
    if (!asked.ok) refusal = asked.error;
    else if (asked.value !== null) return Response.json(asked.value);
  }
  if (refusal !== undefined) return errorResponse(refusal);
  const message =
    "No decision is on record for this request. Records are in memory, and newer ones push out the " +
    "oldest; a request that was refused before a pool was asked has none.";
  return errorResponse(refuse("not_found", message).error);
}

/**
 * The object that the id names is asked first, also where it does not count any more: until it is retired it has
 * its records. Then all others, for a configuration may have changed under the request.
 */
async function explainIn(
  c: Context<AppEnv>,
  config: PoolConfig,
  { requestId, shard }: { readonly requestId: string; readonly shard: number },
): Promise<Checked<Explanation | null>> {
  const explain = (address: PoolAddress) => poolsFor(c.env, address).explain(address, requestId);
  const named = await explainAt(c, config, { shard, explain });
  if (named.ok && named.value !== null) return named;
  if (config.shards === 1 && shard === 0) return named;
  const asked = await askPool(c, config.name, explain);
  if (!asked.ok) return asked;
  for (const { value } of asked.value.answers)
    if (value.explanation !== null) return { ok: true, value: value.explanation };
  return named.ok && asked.value.missing.length === 0 ? { ok: true, value: null } : SHARD_MISSING;
}

async function explainAt(
  c: Context<AppEnv>,
  config: PoolConfig,
  {
    shard,
    explain,
  }: {
    readonly shard: number;
    readonly explain: (address: PoolAddress) => Promise<{ explanation: Explanation | null }>;
  },
): Promise<Checked<Explanation | null>> {
  const isThere = await hasShard(c, config, shard);
  if (!isThere.ok) return isThere;
  if (!isThere.value) return { ok: true, value: null };
  const asked = await askShard(config, shard, explain);
  return asked.ok ? { ok: true, value: asked.value.explanation } : asked;
}

const SHARD_MISSING = refuse(
  "pool_unavailable",
  "One of the pool's objects did not answer, and no other has the request on record. Retry.",
);

async function readJson(c: Context<AppEnv>, bytesMax: number): Promise<Checked<unknown>> {
  const bytes = await readBody(c.req.raw, bytesMax);
  if (!bytes.ok) return bytes;
  const json = parseJsonBody(bytes.value);
  return json.ok ? { ok: true, value: json.value.value } : json;
}

/** `"7"` or 7; absent or `*`: whatever version is in force. */
function parseIfMatch(header: string | undefined): Checked<number | undefined> {
  if (header === undefined || header.trim() === "*") return { ok: true, value: undefined };
  const digits = /^\s*"?([0-9]{1,15})"?\s*$/.exec(header)?.[1];
  if (digits !== undefined) return { ok: true, value: Number(digits) };
  return refuse("invalid_value", 'If-Match takes a version as GET shows it, e.g. "7".', "if-match");
}

function putRefusal(put: Extract<DirectoryPut, { ok: false }>): Response {
  const lines = put.issues.map(({ path, message }) =>
    path === "" ? message : `${path}: ${message}`,
  );
  const codes = {
    conflict: "version_conflict",
    invalid: "invalid_configuration",
    "too-large": "request_too_large",
  } as const;
  const { error } = refuse(codes[put.reason], `Nothing was changed: ${lines.join("; ")}`);
  return errorResponse({ ...error, details: { issues: put.issues } });
}
