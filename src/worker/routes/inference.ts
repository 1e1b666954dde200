// POST to the paths that parsers claim: /v1/chat/completions and /v1/completions.

import type { Context } from "hono";
import { FAIRLEAD_ATTEMPTS_HEADER, FAIRLEAD_QUEUE_HEADER } from "../../agents/protocol/headers.ts";
import type { Settings } from "../../config/settings.ts";
import { resolveTenant } from "../auth.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import type { DirectoryIndex } from "../directory-index.ts";
import type { Tenant } from "../tenant.ts";
import { findRoutes, type ModelRoute } from "../model-routes.ts";
import { type ApiError, type Checked, errorResponse, refuse, statusOf } from "../openai/errors.ts";
import { readBody } from "../openai/read-body.ts";
import { BUILT_PARSERS } from "../parsers/built-parsers.ts";
import { type Preparation, prepareFor } from "../parsers/preparation.ts";
import { requestSeed } from "../request-id.ts";
import { readSettings } from "../settings.ts";
import { RequestTelemetry } from "../telemetry.ts";
import type { FileBindings } from "../token-keys/model-files.ts";
import { answerClient } from "../upstream/client-answer.ts";
import { dispatch } from "../upstream/dispatch.ts";
import { grantHeaders } from "../upstream/grant-headers.ts";
import { poolPort } from "../upstream/pool-port.ts";

/** A request that has passed every check of the Worker's own. */
interface Admitted {
  readonly tenant: Tenant;
  readonly receivedAtMs: number;
  readonly weightOf: (tenantId: string) => number | undefined;
  readonly prepare: Preparation;
  readonly routes: readonly ModelRoute[];
  readonly routing: DirectoryIndex["routing"];
}

/** Serves one path, which a parser claims. */
export function inferenceRoute(path: string) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const telemetry = new RequestTelemetry(c.get("call"), path);
    // The runtime reports a client that left only while something keeps the context alive; without
    // this, neither the object nor the relay would hear of it.
    const held = Promise.withResolvers<void>();
    c.executionCtx.waitUntil(held.promise);
    const waitUntil = (work: Promise<void>) => c.executionCtx.waitUntil(work);
    const settings = await readSettings(c.env, waitUntil);
    const fail = (error: ApiError) => {
      telemetry.facts.code = error.code;
      if (error.dropReason !== undefined) telemetry.facts.dropReason = error.dropReason;
      telemetry.end(statusOf(error.code), settings.requestLog);
      const { endpointsTried, queueMs } = telemetry.facts;
      const headers = {
        ...error.headers,
        ...(endpointsTried === 0 ? {} : { [FAIRLEAD_ATTEMPTS_HEADER]: String(endpointsTried) }),
        ...(queueMs === undefined ? {} : { [FAIRLEAD_QUEUE_HEADER]: String(queueMs) }),
      };
      return errorResponse({ ...error, headers });
    };
    let isStreaming = false;
    try {
      const admitted = await admit(c, { path, telemetry, settings });
      if (!admitted.ok) return fail(admitted.error);
      const dispatched = await dispatch({
        ...admitted.value,
        call: c.get("call"),
        telemetry,
        headers: c.req.raw.headers,
        bindings: c.env as Env & FileBindings,
        port: (pool) => poolPort(c.env, pool),
        signal: c.req.raw.signal,
        hold: waitUntil,
      });
      if (!dispatched.ok) return fail(dispatched.error);
      const { response, endpoint, grant } = dispatched;
      telemetry.facts.endpoint = endpoint;
      const exposedEndpoint =
        settings.exposeEndpointHeader && endpoint !== "" ? endpoint : undefined;
      const { requestId } = c.get("call");
      const answer = answerClient(response, {
        exposedEndpoint,
        requestId,
        endpointsTried: telemetry.facts.endpointsTried,
        queueMs: telemetry.facts.queueMs,
        grantHeaders: grantHeaders(grant, endpoint),
      });
      isStreaming = true;
      void answer.ended.then((end) => {
        telemetry.facts.streamEnd = end;
        if (end === "lost") telemetry.facts.code = "upstream_lost";
        telemetry.end(answer.response.status, settings.requestLog);
        grant[Symbol.dispose]();
        held.resolve();
      });
      return answer.response;
    } catch (error) {
      // The router answers it; here it is only counted and logged as a request.
      telemetry.facts.code = "internal_error";
      telemetry.end(500, settings.requestLog);
      throw error;
    } finally {
      if (!isStreaming) held.resolve();
    }
  };
}

async function admit(
  c: Context<AppEnv>,
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
  const request = c.req.raw;
  const directory = await readDirectory(c.env, (work) => c.executionCtx.waitUntil(work));
  if (directory === undefined) {
    return refuse("configuration_unavailable", "The configuration cannot be read. Retry.");
  }
  const tenant = await resolveTenant(request, directory);
  if (!tenant.ok) return tenant;
  facts.tenant = tenant.value.id;
  facts.priority = tenant.value.priority;
  const body = await readBody(request, directory.bodyBytesMax);
  if (!body.ok) return body;
  const receivedAtMs = Date.now();
  facts.requestBytes = body.value.byteLength;
  const parser = BUILT_PARSERS.find(of.path)!;
  const { headers } = request;
  const input = { path: of.path, bytes: body.value, headers };
  const parsed = parser.parse(input);
  if (!parsed.ok) return parsed;
  const { model } = parsed.value;
  facts.isStream = parsed.value.isStream;
  const routes = findRoutes(directory, {
    model,
    path: of.path,
    parser: parser.type,
    tenant: tenant.value,
    seed: requestSeed(c.get("call").requestId),
  });
  if (!routes.ok) return routes;
  if (model !== null) facts.model = model;
  const tried = routes.value.slice(0, directory.routing.retryPoolsMax);
  const models = tried.map((route) => route.model);
  const from = { parser, input, tenant: tenant.value, models };
  const prepare = await prepareFor(parsed.value, from);
  const weightOf = (id: string) => directory.weightOf(id);
  const { routing } = directory;
  const value = { tenant: tenant.value, receivedAtMs, weightOf, prepare, routes: tried, routing };
  return { ok: true, value };
}
