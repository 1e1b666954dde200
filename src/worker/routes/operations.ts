// GET /health, /metrics, /metrics/directory and /metrics/pools/<pool>.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import { METRICS_CONTENT_TYPE } from "../../telemetry/metrics.ts";
import type { AppEnv } from "../call.ts";
import { directoryAnswers } from "../directory.ts";
import { metrics } from "../metrics.ts";
import { errorResponse } from "../openai/errors.ts";
import { askPool } from "./ask-pool.ts";

/** 200 while this process serves and can read its configuration. Says nothing about engines. */
export async function health(c: Context<AppEnv>): Promise<Response> {
  const isReadable = await directoryAnswers(c.env);
  const body = {
    status: isReadable ? "ok" : "unavailable",
    directory: isReadable ? "ok" : "unreachable",
  };
  return Response.json(body, {
    status: isReadable ? 200 : 503,
    headers: { "cache-control": "no-store" },
  });
}

/** This isolate's metrics. */
export function isolateMetrics(): Response {
  return metricsResponse(metrics.render());
}

/** The metrics of the directory's object. */
export async function directoryMetrics(c: Context<AppEnv>): Promise<Response> {
  return metricsResponse(await c.env.CONTROL.directoryMetrics());
}

/** The metrics of a pool's object. */
export async function poolMetrics(c: Context<AppEnv>): Promise<Response> {
  const asked = await askPool(c, c.req.param("pool") ?? "", (pool) =>
    poolsFor(c.env, pool).metrics(pool),
  );
  return asked.ok ? metricsResponse(asked.value) : errorResponse(asked.error);
}

function metricsResponse(text: string): Response {
  return new Response(text, { headers: { "content-type": METRICS_CONTENT_TYPE } });
}
