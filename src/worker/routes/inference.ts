// POST to the paths that parsers claim: /v1/chat/completions and /v1/completions.

import { FAIRLEAD_ATTEMPTS_HEADER, FAIRLEAD_QUEUE_HEADER } from "../../agents/protocol/headers.ts";
import { type Call, type InferenceCall, writeRequestIds } from "../call.ts";
import { type ApiError, errorResponse, statusOf } from "../openai/errors.ts";
import { noteChoice, poolHeaders } from "../pools/tell-choice.ts";
import { freshSettings, readSettings } from "../settings.ts";
import { type RequestFacts, RequestTelemetry } from "../telemetry.ts";
import type { FileBindings } from "../token-keys/model-files.ts";
import { answerClient } from "../upstream/client-answer.ts";
import { dispatch } from "../upstream/dispatch.ts";
import { grantHeaders } from "../upstream/grant-headers.ts";
import { poolPort } from "../upstream/pool-port.ts";
import { admit } from "./admission.ts";

/** Serves one path, which a parser claims. */
export async function serveInference(path: string, of: InferenceCall): Promise<Response> {
  const { call, env, hold, request } = of;
  const telemetry = new RequestTelemetry(call, path);
  // The runtime reports a client that left only while something keeps the context alive; without
  // this, neither the object nor the relay would hear of it.
  const held = Promise.withResolvers<void>();
  hold(held.promise);
  const settings = freshSettings() ?? (await readSettings(env, hold));
  const fail = (error: ApiError) => {
    noteError(telemetry.facts, error);
    telemetry.end(statusOf(error.code), settings.requestLog);
    return refusal(call, telemetry.facts, error);
  };
  let isStreaming = false;
  try {
    const admitted = await admit(of, { path, telemetry, settings });
    if (!admitted.ok) return fail(admitted.error);
    const { chosen } = admitted.value;
    const dispatched = await dispatch({
      routes: chosen.routes,
      choice: chosen.candidates.length > 0 ? chosen.candidates : undefined,
      dispatched: (pool) => chosen.dispatched(pool),
      call,
      telemetry,
      headers: request.headers,
      bindings: env as Env & FileBindings,
      port: (pool) => poolPort(env, pool),
      signal: request.signal,
      hold,
      ...admitted.value,
    });
    noteChoice(telemetry.facts, chosen);
    if (!dispatched.ok) return fail(dispatched.error);
    const { response, endpoint, grant } = dispatched;
    telemetry.facts.endpoint = endpoint;
    const isExposed = settings.exposeEndpointHeader;
    const answer = answerClient(response, {
      exposedEndpoint: isExposed && endpoint !== "" ? endpoint : undefined,
      call,
      endpointsTried: telemetry.facts.endpointsTried,
      queueMs: telemetry.facts.queueMs,
      grantHeaders: {
        ...poolHeaders(chosen, telemetry.facts.pool, isExposed),
        ...grantHeaders(grant, endpoint),
      },
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
}

function noteError(facts: RequestFacts, error: ApiError): void {
  facts.code = error.code;
  if (error.dropReason !== undefined) facts.dropReason = error.dropReason;
}

function refusal(call: Call, { endpointsTried, queueMs }: RequestFacts, error: ApiError): Response {
  const headers: Record<string, string> = {
    ...error.headers,
    ...(endpointsTried === 0 ? {} : { [FAIRLEAD_ATTEMPTS_HEADER]: String(endpointsTried) }),
    ...(queueMs === undefined ? {} : { [FAIRLEAD_QUEUE_HEADER]: String(queueMs) }),
  };
  writeRequestIds(headers, call);
  return errorResponse({ ...error, headers });
}
