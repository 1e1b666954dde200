// What a simulated engine can be told, under the names of llm-d-inference-sim and vLLM, so that a
// command line for either means the same here. Defaults feel like an 8B model on one H100.
//
// Ours alone: engines, host, ports, time-scale, failures.

import {
  choiceFlag,
  numberFlag,
  textFlag,
  type Flag,
  type FlagValues,
  type NumberRange,
} from "../process/flags.ts";
import { windowBlocksMin } from "./model/window-blocks.ts";
import type { RunnerConfig } from "./engine-runner.ts";
import { createHasher } from "./kv-events/block-hashers.ts";
import { KV_EVENT_FLAGS, portsFlag } from "./kv-events/flags.ts";
import type { EngineConfig } from "./model/engine.ts";
import { type TransferTiming, transferMsPerToken } from "./model/transfer.ts";
import { DISAGGREGATION_FLAGS } from "./disaggregation/flags.ts";
import { durationFlag } from "./duration-flag.ts";
import { FAILURE_TYPES, parseFailures, parseFailureTypes, type Failure } from "./failures.ts";

/** Engines one process hosts. */
const ENGINES_MAX = 256;
/** A deviation above this share of its mean is refused, as by llm-d-inference-sim. */
const STD_DEV_RATIO_MAX = 0.3;

export const SIMULATOR_FLAGS = {
  host: textFlag("HOST", "address to listen on", "127.0.0.1"),
  port: count("port of the first engine, the others follow; 0 for any free ones", 8000, 0, 65_535),
  ports: portsFlag("a port for each engine, instead of --port"),
  engines: count("engines in this process", 1, 1, ENGINES_MAX),
  "time-scale": numberFlag(
    "factor on every duration; 0.1 is ten times faster",
    { min: 0.000_1, max: 1_000, isInteger: false },
    1,
  ),
  seed: count("seed of everything random; engine i uses seed + i", 0, 0, 4_294_967_295),
  "startup-duration": durationFlag("how long /health/ready answers 503", 0),

  model: textFlag("NAME", "the model", "meta-llama/Llama-3.1-8B-Instruct"),
  "served-model-name": textFlag("NAME[,NAME]", "names clients may use instead of --model", null),
  "max-model-len": count("tokens of prompt and answer together", 32_768, 1, 4_194_304),
  "max-request-body-size-mb": count("MiB of one request", 32, 1, 512),
  mode: choiceFlag(["random", "echo"], "what the model answers", "random"),

  "max-num-seqs": count("sequences that run at once", 64, 1, 4_096),
  "max-waiting-queue-length": count("sequences that wait before 429", 1_000, 0, 100_000),
  "max-num-batched-tokens": count("tokens computed in one step", 2_048, 1, 1_048_576),
  "kv-cache-size": count("blocks of the KV cache", 4_096, 1, 4_194_304),
  "block-size": count("tokens of a block", 16, 1, 4_096),
  "sliding-window": count(
    "tokens that some layers see, whose blocks are a cache group of their own; 0: all see everything",
    0,
    0,
    1_048_576,
  ),
  "sliding-window-blocks": count("blocks of these layers' cache", 4_096, 1, 4_194_304),
  "hash-seed": textFlag<string | null>("TEXT", "seed of block hashes (PYTHONHASHSEED)", null),

  "latency-calculator": choiceFlag(
    ["auto", "constant", "per-token", "roofline"],
    "how steps are timed; auto is constant if --time-to-first-token is given, else per-token",
    "auto",
  ),
  "time-to-first-token": durationFlag("constant: time to the first token", 0),
  "time-to-first-token-std-dev": durationFlag("its deviation", 0),
  "prefill-overhead": durationFlag("per-token: time a prompt takes besides its tokens", 30),
  "prefill-time-per-token": durationFlag(
    "per-token, roofline: time of a prompt token not cached",
    0.25,
  ),
  "prefill-time-std-dev": durationFlag("its deviation, of the whole prompt", 0),
  "inter-token-latency": durationFlag("time between tokens", 12),
  "inter-token-latency-std-dev": durationFlag("its deviation", 0),
  "time-factor-under-load": numberFlag(
    "how much slower everything is with --max-num-seqs running",
    { min: 1, max: 1_000, isInteger: false },
    2,
  ),

  "step-time": durationFlag("roofline: time of any step", 20),
  "decode-time-per-sequence": durationFlag("roofline: time of each sequence that decodes", 0.05),
  "decode-time-per-context-token": durationFlag(
    "roofline: time of each token in their contexts",
    0.000_03,
  ),

  ...KV_EVENT_FLAGS,
  ...DISAGGREGATION_FLAGS,

  failures: failuresFlag("failures to inject, as POST /sim/failures takes them"),
  "failure-injection-rate": count("per cent of requests answered with an error", 0, 0, 100),
  "failure-types": failureTypesFlag("the errors --failure-injection-rate draws from"),
} as const;

export type SimulatorParameters = FlagValues<typeof SIMULATOR_FLAGS>;

/** Every parameter, those not given at their default. */
export function withDefaults(given: Partial<SimulatorParameters>): SimulatorParameters {
  const defaults = Object.fromEntries(
    Object.entries(SIMULATOR_FLAGS).map(([name, flag]) => [name, flag.fallback]),
  );
  return { ...defaults, ...given } as SimulatorParameters;
}

/** What is wrong with parameters that are each allowed, a sentence each. */
export function findContradictions(parameters: SimulatorParameters): string[] {
  const mistakes: string[] = [];
  const cacheTokens = parameters["kv-cache-size"] * parameters["block-size"];
  if (cacheTokens < parameters["max-model-len"]) {
    mistakes.push(
      `--max-model-len ${parameters["max-model-len"]} does not fit into the KV cache of ` +
        `${cacheTokens} tokens (--kv-cache-size times --block-size).`,
    );
  }
  if (parameters["max-num-batched-tokens"] < parameters["max-num-seqs"]) {
    mistakes.push("--max-num-batched-tokens must be at least --max-num-seqs.");
  }
  for (const name of ["time-to-first-token", "inter-token-latency"] as const) {
    if (parameters[`${name}-std-dev`] > parameters[name] * STD_DEV_RATIO_MAX) {
      mistakes.push(`--${name}-std-dev must be at most 30% of --${name}.`);
    }
  }
  const total = engineCount(parameters);
  if (total > ENGINES_MAX) {
    mistakes.push(`--engines times --data-parallel-size must be at most ${ENGINES_MAX}.`);
  }
  for (const name of ["ports", "kv-events-ports", "kv-replay-ports"] as const) {
    const { length } = parameters[name];
    if (length === 0 || length === total) continue;
    mistakes.push(`--${name} names ${length} ports for ${total} engines.`);
  }
  if (parameters.port + total - 1 > 65_535) {
    mistakes.push(`--port ${parameters.port} leaves no room for ${total} ports.`);
  }
  mistakes.push(...windowContradictions(parameters));
  if (parameters["kv-lease-duration"] <= 0) mistakes.push("--kv-lease-duration must be above 0.");
  const names = servedModelNames(parameters);
  const doubled = parameters["lora-modules"].find((lora) => names.includes(lora));
  if (doubled !== undefined) mistakes.push(`--lora-modules names the model ${doubled} itself.`);
  return mistakes;
}

function windowContradictions(parameters: SimulatorParameters): string[] {
  const tokens = parameters["sliding-window"];
  if (tokens === 0) return [];
  const mistakes: string[] = [];
  const least = windowBlocksMin(
    { tokens, blockSize: parameters["block-size"] },
    {
      sequencesMax: parameters["max-num-seqs"],
      batchedTokensMax: parameters["max-num-batched-tokens"],
    },
  );
  if (parameters["sliding-window-blocks"] < least) {
    mistakes.push(`--sliding-window-blocks must be at least ${least} for --max-num-seqs windows.`);
  }
  if (parameters["kv-offloading-blocks"] > 0 || parameters["kv-storage-blocks"] > 0) {
    mistakes.push("--sliding-window is for GPUs only: no blocks elsewhere.");
  }
  if (parameters.role !== "both") mistakes.push("--sliding-window is for --role both.");
  const { groups, fields, dialect } = parameters["kv-events-form"];
  const hasGroups = dialect === "vllm" && (fields === "groups" || fields === "locality");
  if (groups === 2 || !hasGroups) {
    mistakes.push(
      "--sliding-window tells of a second group of its own: --kv-events-form must be of vLLM, with fields of " +
        "groups or later and one group.",
    );
  }
  return mistakes;
}

/** Engines of the process, each rank counted for itself. */
export function engineCount(parameters: SimulatorParameters): number {
  return parameters.engines * parameters["data-parallel-size"];
}

/** The names clients may use for the model; the first is the one answers carry. */
export function servedModelNames(parameters: SimulatorParameters): readonly string[] {
  const names = parameters["served-model-name"]?.split(",").map((name) => name.trim());
  const given = names?.filter((name) => name !== "") ?? [];
  return given.length > 0 ? given : [parameters.model];
}

/** The engine's own view of the parameters. */
export function runnerConfig(parameters: SimulatorParameters): RunnerConfig {
  const model = servedModelNames(parameters)[0]!;
  return {
    engine: engineConfig(parameters),
    model,
    hasher: createHasher(
      parameters["prefix-caching-hash-algo"],
      model,
      parameters["hash-seed"] ?? "",
    ),
    timeScale: parameters["time-scale"],
    transfer: transferTiming(parameters),
  };
}

function transferTiming(parameters: SimulatorParameters): TransferTiming {
  const perToken = transferMsPerToken(
    parameters["kv-bytes-per-token"],
    parameters["kv-transfer-bandwidth"],
  );
  return {
    latencyMs: parameters["kv-cache-transfer-latency"],
    msPerToken: parameters["kv-cache-transfer-time-per-token"] || perToken,
    handshakeMs: parameters["kv-handshake-latency"],
  };
}

function engineConfig(parameters: SimulatorParameters): EngineConfig {
  const calculator = parameters["latency-calculator"];
  const isConstant =
    parameters["time-to-first-token"] > 0 || parameters["time-to-first-token-std-dev"] > 0;
  return {
    blockSize: parameters["block-size"],
    blockCount: parameters["kv-cache-size"],
    sequencesMax: parameters["max-num-seqs"],
    waitingMax: parameters["max-waiting-queue-length"],
    batchedTokensMax: parameters["max-num-batched-tokens"],
    modelLengthMax: parameters["max-model-len"],
    ...slidingWindow(parameters),
    tracksCopies: true,
    leaseMs: parameters["kv-lease-duration"],
    timing: {
      calculator: calculator === "auto" ? (isConstant ? "constant" : "per-token") : calculator,
      timeToFirstToken: {
        meanMs: parameters["time-to-first-token"],
        stdDevMs: parameters["time-to-first-token-std-dev"],
      },
      interTokenLatency: {
        meanMs: parameters["inter-token-latency"],
        stdDevMs: parameters["inter-token-latency-std-dev"],
      },
      prefillOverheadMs: parameters["prefill-overhead"],
      prefillMsPerToken: parameters["prefill-time-per-token"],
      prefillStdDevMs: parameters["prefill-time-std-dev"],
      timeFactorUnderLoad: parameters["time-factor-under-load"],
      sequencesMax: parameters["max-num-seqs"],
      roofline: {
        stepMs: parameters["step-time"],
        decodeMsPerSequence: parameters["decode-time-per-sequence"],
        decodeMsPerContextToken: parameters["decode-time-per-context-token"],
      },
    },
  };
}

function slidingWindow(parameters: SimulatorParameters): Pick<EngineConfig, "slidingWindow"> {
  const tokens = parameters["sliding-window"];
  if (tokens === 0) return {};
  return { slidingWindow: { tokens, blockCount: parameters["sliding-window-blocks"] } };
}

function count(help: string, fallback: number, min: number, max: number): Flag<number> {
  const range: NumberRange = { min, max, isInteger: true };
  return numberFlag(help, range, fallback);
}

function failuresFlag(help: string): Flag<readonly Failure[]> {
  return {
    placeholder: "JSON",
    help,
    fallback: [],
    parse(text) {
      const parsed = parseFailures(text);
      return parsed.ok ? parsed : { ok: false, expected: `a list of failures: ${parsed.message}` };
    },
  };
}

function failureTypesFlag(help: string): Flag<typeof FAILURE_TYPES> {
  return {
    placeholder: "TYPE[,TYPE]",
    help,
    fallback: FAILURE_TYPES,
    parse(text) {
      const value = parseFailureTypes(text);
      return value === undefined
        ? { ok: false, expected: `some of ${FAILURE_TYPES.join(", ")}` }
        : { ok: true, value };
    },
  };
}
