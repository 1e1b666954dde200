// GET /health, /metrics, /metrics/directory and /metrics/pools/<pool>.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import { mergeMetrics } from "../../telemetry/merge-metrics.ts";
import { METRICS_CONTENT_TYPE, MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { AppEnv } from "../call.ts";
import { directoryAnswers } from "../directory.ts";
import { metrics } from "../metrics.ts";
import { errorResponse } from "../openai/errors.ts";
import type { Answers } from "../shards/answers.ts";
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

/** The metrics of a pool, whose objects may be several. */
export async function poolMetrics(c: Context<AppEnv>): Promise<Response> {
  const name = c.req.param("pool") ?? "";
  const asked = await askPool(c, name, (pool) => poolsFor(c.env, pool).metrics(pool));
  if (!asked.ok) return errorResponse(asked.error);
  const texts = asked.value.answers.map(({ value }) => value);
  return metricsResponse(mergeMetrics(texts) + shardMetrics(name, asked.value));
}

/** Nothing of a pool of one object. */
function shardMetrics(name: string, { count, answers, missing }: Answers<string>): string {
  if (count === 1) return "";
  const registry = new MetricRegistry();
  registry.set(METRIC.poolShards, { name, outcome: "answered" }, answers.length);
  registry.set(METRIC.poolShards, { name, outcome: "missing" }, missing.length);
  return registry.render();
}

function metricsResponse(text: string): Response {
  return new Response(text, { headers: { "content-type": METRICS_CONTENT_TYPE } });
}
