// Which path is whose. Everything a client can reach stands here; what is not here is a 404.

import { type Context, Hono } from "hono";
import { adminRefusal } from "./auth.ts";
import { type AppEnv, type Call, createCall, type InferenceCall, setRequestIds } from "./call.ts";
import { errorResponse, refuse } from "./openai/errors.ts";
import { INFERENCE_PATHS } from "./parsers/built-parsers.ts";
import * as admin from "./routes/admin.ts";
import { connectAgent } from "./routes/agents.ts";
import { listDecisions } from "./routes/decisions.ts";
import { serveInference } from "./routes/inference.ts";
import { listModels, showModel } from "./routes/models.ts";
import { directoryMetrics, health, isolateMetrics, poolMetrics } from "./routes/operations.ts";
import * as pools from "./routes/pools.ts";
import { logException } from "./telemetry.ts";

type Route = (c: Context<AppEnv>) => Response | Promise<Response>;

const router = new Hono<AppEnv>();

router.use(async (c, next) => {
  const call = createCall(c.req.raw);
  c.set("call", call);
  await next();
  // An upgrade's headers are the runtime's.
  if (c.res.status !== 101) setRequestIds(c.res.headers, call);
});

for (const path of INFERENCE_PATHS) {
  const route = { POST: (c: Context<AppEnv>) => serveInference(path, inferenceCall(c)) };
  serve(path, route);
  // Parsers take no notice of a slash at the end; the engine is asked without it.
  serve(`${path}/`, route);
}
serve("/v1/models", { GET: listModels });
// `.+`: names of models contain slashes.
serve("/v1/models/:model{.+}", { GET: showModel });
serve("/health", { GET: health });
serve("/agents/v1/:pool", { GET: connectAgent });

serve("/metrics", { GET: forAdmin(isolateMetrics) });
serve("/metrics/directory", { GET: forAdmin(directoryMetrics) });
serve("/metrics/pools/:pool", { GET: forAdmin(poolMetrics) });
serve("/admin/v1/config", { GET: forAdmin(admin.getConfig), PUT: forAdmin(admin.putConfig) });
serve("/admin/v1/config/versions", { GET: forAdmin(admin.listVersions) });
serve("/admin/v1/config/versions/:version", { GET: forAdmin(admin.getVersion) });
serve("/admin/v1/settings", {
  GET: forAdmin(admin.getSettings),
  PATCH: forAdmin(admin.patchSettings),
});
serve("/admin/v1/explain/:requestId", { GET: forAdmin(admin.explainRequest) });
serve("/admin/v1/pools", { GET: forAdmin(pools.getPools) });
serve("/admin/v1/pools/:pool", { GET: forAdmin(pools.getPool) });
serve("/admin/v1/pools/:pool/drain", { POST: forAdmin(pools.drainPool) });
serve("/admin/v1/pools/:pool/undrain", { POST: forAdmin(pools.undrainPool) });
serve("/admin/v1/pools/:pool/queue", { GET: forAdmin(pools.getQueue) });
serve("/admin/v1/pools/:pool/decisions", { GET: forAdmin(listDecisions) });

router.notFound(() => {
  const message =
    "Nothing is at this path. There are POST /v1/chat/completions, POST /v1/completions, " +
    "GET /v1/models and GET /health.";
  return errorResponse(refuse("not_found", message).error);
});

router.onError((error, c) => answerException(error, c.get("call")));

/**
 * Answers a request. Nearly all are for inference, and their paths are written plainly: those need no router, and
 * none of its objects.
 */
// Hot path.
export async function serveRequest(
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const path = request.method === "POST" ? plainInferencePath(request.url) : undefined;
  if (path === undefined) return router.fetch(request, env, ctx);
  const call = createCall(request);
  const hold = (work: Promise<void>) => ctx.waitUntil(work);
  try {
    return await serveInference(path, { request, env, call, hold });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const answer = answerException(error, call);
    setRequestIds(answer.headers, call);
    return answer;
  }
}

/** Undefined also for what the router may yet find to be one: percent signs, a slash at the end. */
function plainInferencePath(url: string): string | undefined {
  const at = url.indexOf("/", url.indexOf("://") + 3);
  for (const path of INFERENCE_PATHS) {
    const end = at + path.length;
    if (url.startsWith(path, at) && (end === url.length || url[end] === "?")) return path;
  }
  return undefined;
}

function inferenceCall(c: Context<AppEnv>): InferenceCall {
  const hold = (work: Promise<void>) => c.executionCtx.waitUntil(work);
  return { request: c.req.raw, env: c.env, call: c.get("call"), hold };
}

function answerException(error: Error, call: Call): Response {
  logException(error, call);
  const message =
    "Something failed here, not in your request. The operator finds it in the log, by the request id.";
  return errorResponse(refuse("internal_error", message).error);
}

/** Registers a path with its methods; every other method is a 405 that names them. */
function serve(path: string, routes: Readonly<Record<string, Route>>): void {
  for (const [method, route] of Object.entries(routes)) router.on(method, path, route);
  const allow = Object.keys(routes).join(", ");
  router.all(path, () => {
    const { error } = refuse("method_not_allowed", `This path takes ${allow}.`);
    return errorResponse({ ...error, headers: { allow } });
  });
}

function forAdmin(route: Route): Route {
  return async (c) => {
    const refusal = await adminRefusal(c.req.raw, c.env);
    return refusal === undefined ? route(c) : errorResponse(refusal);
  };
}
