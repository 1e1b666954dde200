// POST /v1/chat/completions and /v1/completions.

import type { Context } from "hono";
import { FAIRLEAD_ATTEMPTS_HEADER } from "../../agents/protocol/headers.ts";
import type { Settings } from "../../config/settings.ts";
import { resolveTenant } from "../auth.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import type { Pool, Tenant } from "../directory-index.ts";
import { type ApiError, type Checked, errorResponse, refuse, statusOf } from "../openai/errors.ts";
import { type InferencePath, type Prepared, prepareInference } from "../openai/prepare.ts";
import { readBody } from "../openai/read-body.ts";
import { readSettings } from "../settings.ts";
import { RequestTelemetry } from "../telemetry.ts";
import { answerClient } from "../upstream/client-answer.ts";
import { dispatch } from "../upstream/dispatch.ts";
import { poolPort } from "../upstream/pool-port.ts";

/** A request that has passed every check of the Worker's own. */
interface Admitted {
  readonly tenant: Tenant;
  readonly prepared: Prepared;
  readonly pools: readonly Pool[];
}

/** Serves one path. */
export function inferenceRoute(path: InferencePath) {
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
      telemetry.end(statusOf(error.code), settings.requestLog);
      const { endpointsTried } = telemetry.facts;
      const headers = { ...error.headers, [FAIRLEAD_ATTEMPTS_HEADER]: String(endpointsTried) };
      return errorResponse(endpointsTried === 0 ? error : { ...error, headers });
    };
    let isStreaming = false;
    try {
      const admitted = await admit(c, { path, telemetry, settings });
      if (!admitted.ok) return fail(admitted.error);
      const dispatched = await dispatch({
        ...admitted.value,
        call: c.get("call"),
        telemetry,
        port: (pool) => poolPort(c.env, pool),
        signal: c.req.raw.signal,
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
    readonly path: InferencePath;
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
  facts.requestBytes = body.value.byteLength;
  const prepared = await prepareInference(of.path, body.value, tenant.value);
  if (!prepared.ok) return prepared;
  const { model, isStream } = prepared.value;
  facts.isStream = isStream;
  const pools = directory.poolsServing(model, tenant.value);
  if (pools.length === 0) return refuse("model_not_found", modelNotFound(model), "model");
  facts.model = model;
  return { ok: true, value: { tenant: tenant.value, prepared: prepared.value, pools } };
}

/** The same for a model that is not there and one that is not the tenant's. */
export function modelNotFound(model: string): string {
  return (
    `The model \`${model}\` does not exist or you do not have access to it. ` +
    "GET /v1/models lists those you may use."
  );
}
