// Real engines given to `fairlead up`: where they are, whether they answer, what they serve.

import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { z } from "zod";
import { CliError, describeError, UsageError } from "../cli-error.ts";
import { parseYamlOrJson } from "../yaml.ts";

/** An engine answers its model list at once, or it is not ready for requests. */
const PROBE_MS_MAX = 5_000;
/** An engine's list of models. */
const MODELS_BYTES_MAX = 1024 * 1024;
/** As the agents' reader of the file. */
const ENDPOINTS_FILE_BYTES_MAX = 1024 * 1024;

/** The label that names the engine, as llm-d writes it. */
const ENGINE_TYPE_LABEL = "llm-d.ai/engine-type";

/** One endpoint of llm-d's file discovery. */
export interface EndpointEntry {
  readonly name: string;
  /** Host name or address. */
  readonly address: string;
  readonly port: number;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface EngineProbe {
  readonly origin: string;
  /** `host:port`, as agents name it. */
  readonly address: string;
  readonly models: readonly string[];
  /** The engine's type, as far as its answer tells. */
  readonly engineType: "vllm" | "sglang" | "trtllm-serve";
}

/** What an engine calls itself in `owned_by`, and what llm-d calls it. */
const ENGINE_TYPES: Readonly<Record<string, EngineProbe["engineType"]>> = {
  sglang: "sglang",
  tensorrt_llm: "trtllm-serve",
};

const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string().min(1), owned_by: z.string().optional() })),
});

/** `http://host:port` from a `--endpoint` argument, which may end in /v1. */
export function parseEndpointUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:"))
    throw new UsageError(`--endpoint takes a URL such as http://10.0.0.7:8000, not "${text}".`);
  if (url.protocol === "https:")
    throw new UsageError(
      `--endpoint ${url.origin}: the relay speaks plain HTTP to engines. Use http:// or put a proxy between.`,
    );
  if (!["/", "/v1", "/v1/"].includes(url.pathname) || url.search !== "" || url.username !== "")
    throw new UsageError(
      `--endpoint takes http://host:port and nothing behind it; the engine's API is expected under /v1.`,
    );
  return url;
}

/** Asks an engine which models it serves. Throws a CliError that names the URL and the reason. */
export async function probeEngine(origin: string): Promise<EngineProbe> {
  const refuse = (what: string): never => {
    throw new CliError(`The engine at ${origin} ${what}`);
  };
  const answer = await getModels(origin).catch((error: unknown) =>
    refuse(`does not answer: ${describeError(error)}. Is it running, and is this its address?`),
  );
  const { status, body } = answer;
  if (status === 401 || status === 403)
    return refuse(`asks for an API key (${status}). Start it without one: the relay sends none.`);
  if (status !== 200)
    return refuse(`answered GET /v1/models with ${status}. Is it an OpenAI-compatible server?`);
  const parsed = modelsSchema.safeParse(parseJson(body));
  if (!parsed.success)
    return refuse("answered GET /v1/models with something else than a list of models.");
  const { data } = parsed.data;
  if (data.length === 0) return refuse("serves no model yet. Wait until it has loaded one.");
  return {
    origin,
    address: hostPort(origin),
    models: data.map((model) => model.id),
    engineType: ENGINE_TYPES[data[0]!.owned_by ?? ""] ?? "vllm",
  };
}

/** Not by fetch, which refuses some ports that an engine may well have. */
function getModels(origin: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(PROBE_MS_MAX);
    const request = get(`${origin}/v1/models`, { signal, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        body += chunk;
        if (body.length > MODELS_BYTES_MAX) request.destroy(new Error("a list without an end"));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", reject);
    });
    request.on("error", (error) =>
      reject(signal.aborted ? new Error(`no answer in ${PROBE_MS_MAX / 1000} seconds`) : error),
    );
  });
}

function hostPort(origin: string): string {
  const url = new URL(origin);
  return `${url.hostname}:${url.port || 80}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The models of a pool of these engines: those that every engine serves, since any of them may be
 * picked; or only `wanted`.
 */
export function commonModels(probes: readonly EngineProbe[], wanted: string | undefined): string[] {
  const common = probes[0]!.models.filter((model) =>
    probes.every((probe) => probe.models.includes(model)),
  );
  const lists = () =>
    probes.map((probe) => `  ${probe.origin}: ${probe.models.join(", ")}`).join("\n");
  if (common.length === 0)
    throw new CliError(`No model is served by all of the engines:\n${lists()}`);
  if (wanted === undefined) return common;
  if (!common.includes(wanted))
    throw new CliError(`Not every engine serves ${wanted}:\n${lists()}`);
  return [wanted];
}

/** Endpoint entries for engines given by URL. */
export function endpointEntries(probes: readonly EngineProbe[]): EndpointEntry[] {
  return probes.map((probe, index) => {
    const url = new URL(probe.origin);
    return {
      name: `engine-${index}`,
      address: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: Number(url.port || 80),
      labels: { [ENGINE_TYPE_LABEL]: probe.engineType },
    };
  });
}

/** Only what is needed to ask the engines; the agents check the file in full. */
const endpointsFileSchema = z.object({
  endpoints: z
    .array(z.object({ address: z.string().min(1), port: z.coerce.number().int().default(8000) }))
    .min(1, "the list is empty"),
});

/**
 * Asks the engines of an endpoints file. Ones that do not answer are only warned of, as long as one
 * does: the file describes what should be there, not what is.
 */
export async function probeListed(
  file: string,
  warn: (line: string) => void,
): Promise<EngineProbe[]> {
  const origins = await readEndpointOrigins(file);
  const probes = await Promise.allSettled(origins.map(probeEngine));
  const reachable = probes.flatMap((probe) => (probe.status === "fulfilled" ? [probe.value] : []));
  const failures = probes.flatMap((probe) =>
    probe.status === "rejected" ? [describeError(probe.reason)] : [],
  );
  if (reachable.length === 0)
    throw new CliError(`None of the engines in ${file} can be used:\n${failures.join("\n")}`);
  for (const failure of failures) warn(failure);
  return reachable;
}

/** The origins of the engines in an endpoints file. */
async function readEndpointOrigins(file: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new CliError(`Cannot read --endpoints ${file}: ${describeError(error)}.`);
  }
  if (text.length > ENDPOINTS_FILE_BYTES_MAX)
    throw new CliError(`${file} is larger than ${ENDPOINTS_FILE_BYTES_MAX} bytes.`);
  const parsed = endpointsFileSchema.safeParse(parseYamlOrJson(text, file));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CliError(
      `${file} is not an endpoints file: ${issue!.path.join(".")}: ${issue!.message}. ` +
        "Expected `endpoints: [{name, address, port}]`.",
    );
  }
  return parsed.data.endpoints.map(({ address, port }) =>
    address.includes(":") ? `http://[${address}]:${port}` : `http://${address}:${port}`,
  );
}
