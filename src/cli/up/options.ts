// The command line of `fairlead up`.

import { COORDINATORS_MAX } from "../../config/coordinators.ts";
import { OBJECT_RTT_MS_MAX } from "../../config/object-rtt.ts";
import { SHARDS_MAX } from "../../scheduler/shards/contracts.ts";
import { integerFlag, numberFlag, parseFlags, positionals } from "../flags.ts";
import { UsageError } from "../cli-error.ts";
import { CLUSTERS_MAX, RTT_DEFAULT_MS, RTT_MS_MAX, spreadRtts } from "./clusters.ts";
import { DECIDE_KINDS, type DecideKind, type KvKeys } from "./deployment.ts";
import { parseEndpointUrl } from "./engines.ts";
import { STAGE_CONNECTORS, type Stages } from "./stages.ts";
import { STATE_DIR_DEFAULT } from "./state-dir.ts";

export const PORT_DEFAULT = 8787;
const HOST_DEFAULT = "127.0.0.1";
const ENGINES_DEFAULT = 3;
/** One process simulates them all; more say little on one machine. */
const ENGINES_MAX = 256;
const TIME_SCALE_RANGE = { min: 0.001, max: 1_000 };
const MODEL_DEFAULT = "fairlead-sim";

/** Where a pool's engines come from. */
export type EngineSource =
  | {
      readonly kind: "simulated";
      /** Of all together. */
      readonly count: number;
      /** Where prefill and decode are apart. */
      readonly stages: Stages | undefined;
      readonly timeScale: number;
      /** Of the simulator, by name. */
      readonly flags: Readonly<Record<string, string>>;
    }
  | { readonly kind: "urls"; readonly origins: readonly string[] }
  | { readonly kind: "file"; readonly file: string };

export interface UpOptions {
  readonly host: string;
  readonly port: number;
  readonly stateDir: string;
  readonly engines: EngineSource;
  /** undefined: what the engines serve, or what the configuration says. */
  readonly model: string | undefined;
  readonly configFile: string | undefined;
  /** Processes for the objects, apart from the Worker's; undefined: one process for all. */
  readonly coordinatorCount: number | undefined;
  /** A round-trip time for each cluster; undefined: one pool, without a network before it. */
  readonly clusterRttsMs: readonly number[] | undefined;
  readonly isJson: boolean;
  readonly exitsWithParent: boolean;
  /** Whether engines publish what is in their caches, and the collector listens. */
  readonly hasKvEvents: boolean;
  /** What prefixes are known by, where no configuration says. */
  readonly kvKeys: KvKeys;
  /** Where endpoints are picked; undefined: as pools have it that say nothing. */
  readonly decide: DecideKind | undefined;
  /** Objects of each pool; undefined: one, or what the configuration says. */
  readonly shards: number | undefined;
  /** Added to each call of an object by the Worker; 0: nothing. */
  readonly objectRttMs: number;
}

export const UP_USAGE = `Usage: fairlead up [flags]

Runs the whole product on this machine: workerd with the Worker and its Durable Objects behind a
front, and a relay and a collector for the engines. Without flags the engines are simulated. A part
that ends unasked is started again, with the same ports.

Engines
  --endpoint URL       a real engine, e.g. http://10.0.0.7:8000; may be repeated
  --endpoints FILE     real engines in llm-d's file format; read again when it changes
  --model NAME         serve only this model (default: all that every engine serves)
  --engines N          number of simulated engines (default ${ENGINES_DEFAULT})
  --prefill N          simulated engines that only compute prompts, with --decode and in the place of
  --decode N           --engines: requests are split between both where that is faster
  --kv-connector NAME  how these hand prompts over: ${STAGE_CONNECTORS.join(", ")} (default nixlv2)
  --time-scale X       simulated time: 0.1 is ten times faster than real (default 1)
  --engine-arg N=V     a parameter of the simulated engines, e.g. max-num-seqs=8; may be repeated
  --kv-events          have simulated engines publish KV events, the collector read them, and the relay
                       learn what prompts became; real engines publish on port 5557, or where the
                       labels in --endpoints say
  --kv-keys KIND       what prefixes are known by: content (default), or tokens, for which the engines
                       render each prompt before it is decided where it goes

Clusters
  --clusters N         run N clusters (1 to ${CLUSTERS_MAX}) behind one Worker, each a pool with engines, relay and
                       collector of its own; --engines and the like are then of each
  --rtt MS[,MS ...]    their round-trip times to the Worker, one for each or one for all
                       (default spread from ${RTT_DEFAULT_MS.min} to ${RTT_DEFAULT_MS.max}); \`fairlead chaos\` cuts and slows them

Deployment
  --config FILE        a fairlead.yaml instead of the one pool and one tenant made up otherwise.
                       Pools whose relay URL is http:// on a loopback host and port get a relay and
                       a collector here, with the keys and the token in the file. All other pools
                       are left to their own agents
  --decide WHERE       where endpoints are picked: auto (default), local (at the edge) or consult (in the
                       pool's object)
  --shards N           objects that share the requests of each pool (1 to ${SHARDS_MAX}, default 1)
  --object-rtt-ms N    makes each call of the Worker to a pool's object take N ms longer (0 to ${OBJECT_RTT_MS_MAX}), as if it
                       were that far away: for trying things out, and benchmarks
  --coordinators N     run the objects in N processes of their own (1 to ${COORDINATORS_MAX}), apart from the Worker's;
                       pools are spread over them by name
  --host HOST          where clients connect (default ${HOST_DEFAULT})
  --port N             and on which port; 0 is any free one (default ${PORT_DEFAULT})
  --state-dir DIR      keys, storage and logs (default ${STATE_DIR_DEFAULT}); keys outlive a run
  --json               when ready, print one JSON line (url, key, adminKey, model, pids) and nothing
                       else on stdout
  --exit-with-parent   stop when stdin closes, for programs that run this one

The configuration is applied at each start: changes made with \`fairlead config apply\` last until
then, unless they are in the file given with --config. FAIRLEAD_ADMIN_KEY in the environment is used
as the admin key if it is set.
`;

const FLAGS = {
  endpoint: { type: "string", multiple: true },
  endpoints: { type: "string" },
  model: { type: "string" },
  engines: { type: "string" },
  prefill: { type: "string" },
  decode: { type: "string" },
  "kv-connector": { type: "string" },
  "time-scale": { type: "string" },
  "engine-arg": { type: "string", multiple: true },
  config: { type: "string" },
  decide: { type: "string" },
  shards: { type: "string" },
  "object-rtt-ms": { type: "string" },
  coordinators: { type: "string" },
  clusters: { type: "string" },
  rtt: { type: "string" },
  host: { type: "string", default: HOST_DEFAULT },
  port: { type: "string" },
  "state-dir": { type: "string", default: STATE_DIR_DEFAULT },
  "kv-events": { type: "boolean", default: false },
  "kv-keys": { type: "string" },
  json: { type: "boolean", default: false },
  "exit-with-parent": { type: "boolean", default: false },
} as const;

/** Those that make no sense for real engines. */
const SIMULATED_FLAGS = [
  "engines",
  "prefill",
  "decode",
  "kv-connector",
  "time-scale",
  "engine-arg",
] as const;

type Values = ReturnType<typeof parseFlags<typeof FLAGS>>["values"];

/** Throws UsageError for what is wrong or does not go together. */
export function parseUpOptions(args: string[]): UpOptions {
  const parsed = parseFlags(args, FLAGS);
  positionals(parsed.positionals, []);
  const { values } = parsed;
  const engines = engineSource(values);
  if (values.config !== undefined && values.model !== undefined)
    throw new UsageError("--config already says which models are served; leave out --model.");
  const kvKeys = values["kv-keys"];
  if (values.config !== undefined && kvKeys !== undefined)
    throw new UsageError("--config already says what prefixes are known by; leave out --kv-keys.");
  const { decide, shards } = values;
  if (values.config !== undefined && (decide ?? shards) !== undefined)
    throw new UsageError(
      "--config already says where endpoints are picked; leave out --decide and --shards.",
    );
  return {
    host: values.host,
    port: integerFlag("port", values.port, { min: 0, max: 65_535 }, PORT_DEFAULT),
    stateDir: values["state-dir"],
    engines,
    model:
      values.config === undefined && engines.kind === "simulated"
        ? (values.model ?? MODEL_DEFAULT)
        : values.model,
    configFile: values.config,
    coordinatorCount:
      values.coordinators === undefined
        ? undefined
        : integerFlag("coordinators", values.coordinators, { min: 1, max: COORDINATORS_MAX }, 1),
    clusterRttsMs: clusterRtts(values),
    isJson: values.json,
    exitsWithParent: values["exit-with-parent"],
    hasKvEvents: values["kv-events"],
    kvKeys: parseKvKeys(kvKeys ?? "content"),
    decide: parseDecide(decide),
    shards:
      shards === undefined
        ? undefined
        : integerFlag("shards", shards, { min: 1, max: SHARDS_MAX }, 1),
    objectRttMs: integerFlag(
      "object-rtt-ms",
      values["object-rtt-ms"],
      { min: 0, max: OBJECT_RTT_MS_MAX },
      0,
    ),
  };
}

/** Those that say themselves what runs where. */
const NOT_OF_CLUSTERS = ["config", "coordinators", "endpoint", "endpoints"] as const;

function clusterRtts(values: Values): number[] | undefined {
  if (values.clusters === undefined) {
    if (values.rtt !== undefined)
      throw new UsageError("--rtt is of clusters; it needs --clusters.");
    return undefined;
  }
  const count = integerFlag("clusters", values.clusters, { min: 1, max: CLUSTERS_MAX }, 1);
  const other = NOT_OF_CLUSTERS.find((name) => values[name] !== undefined);
  if (other !== undefined)
    throw new UsageError(
      `--clusters runs simulated engines, pools and coordinators of its own; leave out --${other}.`,
    );
  if (values.rtt === undefined) return spreadRtts(count);
  const range = { min: 0, max: RTT_MS_MAX };
  const rtts = values.rtt.split(",").map((text) => numberFlag("rtt", text, range, 0));
  if (rtts.length !== count && rtts.length !== 1)
    throw new UsageError(`--rtt takes one time, or one for each of the ${count} clusters.`);
  return Array.from({ length: count }, (_, i) => rtts[i] ?? rtts[0]!);
}

function parseKvKeys(text: string): KvKeys {
  if (text === "content" || text === "tokens") return text;
  throw new UsageError(`--kv-keys takes content or tokens, not "${text}".`);
}

function parseDecide(text: string | undefined): DecideKind | undefined {
  const known = DECIDE_KINDS.find((kind) => kind === text);
  if (known === undefined && text !== undefined)
    throw new UsageError(`--decide takes ${DECIDE_KINDS.join(", ")}, not "${text}".`);
  return known;
}

function engineSource(values: Values): EngineSource {
  const { endpoint: urls, endpoints: file } = values;
  if (urls === undefined && file === undefined) {
    const stages = parseStages(values);
    const range = { min: 1, max: ENGINES_MAX };
    return {
      kind: "simulated",
      count:
        stages === undefined
          ? integerFlag("engines", values.engines, range, ENGINES_DEFAULT)
          : stages.prefill + stages.decode,
      stages,
      timeScale: numberFlag("time-scale", values["time-scale"], TIME_SCALE_RANGE, 1),
      flags: engineFlags(values["engine-arg"] ?? []),
    };
  }
  for (const name of SIMULATED_FLAGS) {
    if (values[name] !== undefined)
      throw new UsageError(`--${name} is about simulated engines; real ones were given.`);
  }
  if (urls === undefined) return { kind: "file", file: file! };
  if (file !== undefined) throw new UsageError("Give --endpoint or --endpoints, not both.");
  const origins = urls.map((url) => parseEndpointUrl(url).origin);
  const twice = origins.find((origin, index) => origins.indexOf(origin) !== index);
  if (twice !== undefined) throw new UsageError(`--endpoint ${twice} is given twice.`);
  return { kind: "urls", origins };
}

/** Undefined where each engine does everything. */
function parseStages(values: Values): Stages | undefined {
  const { prefill, decode, "kv-connector": connector } = values;
  if (prefill === undefined && decode === undefined) {
    if (connector !== undefined)
      throw new UsageError("--kv-connector needs --prefill and --decode.");
    return undefined;
  }
  if (prefill === undefined || decode === undefined)
    throw new UsageError("--prefill and --decode go together: one computes for the other.");
  if (values.engines !== undefined)
    throw new UsageError(
      "--prefill and --decode say how many engines there are; leave out --engines.",
    );
  const known = STAGE_CONNECTORS.find((name) => name === (connector ?? "nixlv2"));
  if (known === undefined)
    throw new UsageError(
      `--kv-connector takes ${STAGE_CONNECTORS.join(", ")}, not "${String(connector)}".`,
    );
  const range = { min: 1, max: ENGINES_MAX / 2 };
  return {
    prefill: integerFlag("prefill", prefill, range, 1),
    decode: integerFlag("decode", decode, range, 1),
    connector: known,
  };
}

/** Each `max-num-seqs=8` as a flag of the simulator, which checks the name and the value. */
function engineFlags(texts: readonly string[]): Record<string, string> {
  const flags: Record<string, string> = {};
  for (const text of texts) {
    const [, name, value] = /^([a-z][a-z-]*)=(.+)$/.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw new UsageError(`--engine-arg takes name=value, e.g. max-num-seqs=8, not "${text}".`);
    if (name in flags) throw new UsageError(`--engine-arg ${name} is given twice.`);
    flags[name] = value;
  }
  return flags;
}
