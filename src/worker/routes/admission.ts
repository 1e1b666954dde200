// From an HTTP request to one that may be dispatched: every check of the Worker's own, and the choice of
// pools. What is refused here has cost no pool anything.

import type { Settings } from "../../config/settings.ts";
import { knownTenant, resolveTenant } from "../auth.ts";
import type { InferenceCall } from "../call.ts";
import { freshDirectory, readDirectory } from "../directory.ts";
import type { DirectoryIndex } from "../directory-index.ts";
import { findRoutes, type ModelRoute } from "../model-routes.ts";
import { type Checked, refuse } from "../openai/errors.ts";
import { readBody } from "../openai/read-body.ts";
import { BUILT_PARSERS } from "../parsers/built-parsers.ts";
import type { ParsedRequest, Parser, ParserInput } from "../parsers/parser.ts";
import { type Preparation, preparationOf, prepareEach } from "../parsers/preparation.ts";
import { breakers } from "../pools/breakers.ts";
import { choosePools, modelsOf, openRoutes, rtts } from "../pools/choose-pools.ts";
import type { ChosenPools } from "../pools/chosen-pools.ts";
import { probePools } from "../pools/probe-pools.ts";
import { requestSeed } from "../request-id.ts";
import type { RequestTelemetry } from "../telemetry.ts";
import type { Tenant } from "../tenant.ts";

/** A request that has passed every check of the Worker's own. */
export interface Admitted {
  readonly tenant: Tenant;
  readonly receivedAtMs: number;
  readonly weightOf: (tenantId: string) => number | undefined;
  /** The request as it was parsed: neither holds that. */
  readonly prepare: Preparation;
  readonly chosen: ChosenPools;
  readonly routing: DirectoryIndex["routing"];
}

export async function admit(
  { request, env, call, hold }: InferenceCall,
  of: {
    readonly path: string;
    readonly telemetry: RequestTelemetry;
    readonly settings: Settings;
  },
): Promise<Checked<Admitted>> {
  const { facts } = of.telemetry;
  if (!of.settings.acceptRequests) {
    return refuse("maintenance", "This deployment takes no requests at the moment. Retry later.");
  }
  const directory = freshDirectory() ?? (await readDirectory(env, hold));
  if (directory === undefined) {
    return refuse("configuration_unavailable", "The configuration cannot be read. Retry.");
  }
  const resolved = knownTenant(request, directory) ?? (await resolveTenant(request, directory));
  if (!resolved.ok) return resolved;
  const tenant = resolved.value;
  facts.tenant = tenant.id;
  facts.priority = tenant.priority;
  const body = await readBody(request, directory.bodyBytesMax);
  if (!body.ok) return body;
  const receivedAtMs = Date.now();
  facts.requestBytes = body.value.byteLength;
  const parser = BUILT_PARSERS.find(of.path)!;
  const input = { path: of.path, bytes: body.value, headers: request.headers };
  const parsed = parser.parse(input);
  if (!parsed.ok) return parsed;
  const { model } = parsed.value;
  facts.isStream = parsed.value.isStream;
  const seed = requestSeed(call.requestId);
  const asked = { model, path: of.path, parser: parser.type, tenant, seed };
  const routes = findRoutes(directory, asked);
  if (!routes.ok) return routes;
  if (model !== null) facts.model = model;
  const open = openRoutes(routes.value);
  if (!open.ok) return open;
  const read = { parser, input, parsed: parsed.value };
  const asking = { env, call, hold };
  const ready = await makeReady(asking, open.value, { directory, tenant, seed, read });
  if (!ready.ok) return ready;
  const weightOf = (id: string) => directory.weightOf(id);
  const { routing } = directory;
  return { ok: true, value: { tenant, receivedAtMs, weightOf, routing, ...ready.value } };
}

/** A body and what was made of it. */
interface ReadBody {
  readonly parser: Parser;
  readonly input: ParserInput;
  readonly parsed: ParsedRequest;
}

/** Prepares the request for its pools, and chooses among them. */
async function makeReady(
  { env, call, hold }: Pick<InferenceCall, "env" | "call" | "hold">,
  routes: readonly ModelRoute[],
  of: {
    readonly directory: DirectoryIndex;
    readonly tenant: Tenant;
    readonly seed: number;
    readonly read: ReadBody;
  },
): Promise<Checked<Pick<Admitted, "prepare" | "chosen">>> {
  const { directory, tenant, seed, read } = of;
  const { parser, input, parsed } = read;
  const prepared = await prepareEach(parsed, modelsOf(routes), tenant);
  const chosen = choosePools(routes, {
    directory,
    prepared,
    tenant,
    seed,
    requestId: call.requestId,
    headers: input.headers,
    promptCacheKey: parsed.promptCacheKey,
  });
  if (routes.length > 1) {
    const pools = routes.map(({ pool }) => pool);
    probePools(pools, { rtts, breakers, env, hold });
  }
  if (!chosen.ok) return chosen;
  const models = chosen.value.routes.map((route) => route.model);
  const [first] = models;
  const ofFirst = prepared.get(first!) ?? (await parsed.prepare(first!, tenant));
  const prepare = preparationOf(ofFirst, { parser, input, tenant, models });
  return { ok: true, value: { chosen: chosen.value, prepare } };
}
