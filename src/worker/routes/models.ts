// GET /v1/models and /v1/models/<id>: what the key may use.

import type { Context } from "hono";
import { resolveTenant } from "../auth.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import { type Checked, errorResponse, refuse } from "../openai/errors.ts";
import { modelNotFound } from "../model-routes.ts";

export async function listModels(c: Context<AppEnv>): Promise<Response> {
  const models = await allowedModels(c);
  if (!models.ok) return errorResponse(models.error);
  return Response.json({ object: "list", data: models.value.map(modelObject) });
}

export async function showModel(c: Context<AppEnv>): Promise<Response> {
  const models = await allowedModels(c);
  if (!models.ok) return errorResponse(models.error);
  // Names contain slashes, as clients of other servers send them, escaped or not.
  const model = decodePath(c.req.path.slice("/v1/models/".length));
  if (models.value.includes(model)) return Response.json(modelObject(model));
  return errorResponse(refuse("model_not_found", modelNotFound(model), "model").error);
}

async function allowedModels(c: Context<AppEnv>): Promise<Checked<string[]>> {
  const directory = await readDirectory(c.env, (work) => c.executionCtx.waitUntil(work));
  if (directory === undefined) {
    return refuse("configuration_unavailable", "The configuration cannot be read. Retry.");
  }
  const tenant = await resolveTenant(c.req.raw, directory);
  return tenant.ok ? { ok: true, value: directory.modelsOf(tenant.value) } : tenant;
}

function modelObject(id: string) {
  // When a model was made is not known here; OpenAI's clients want a number.
  return { id, object: "model", created: 0, owned_by: "fairlead" };
}

function decodePath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray % sign: then it was not escaped.
    return text;
  }
}
