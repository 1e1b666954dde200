// How each process of a run is started: arguments, secrets, log.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ProcessSpec, ReadyLine } from "./child-process.ts";
import type { LocalPool, LocalRelay } from "./deployment.ts";
import type { EngineSource } from "./options.ts";
import type { EngineGroup } from "./stages.ts";
import type { StateDir } from "./state-dir.ts";

const AGENTS = fileURLToPath(new URL("../../agents/main.ts", import.meta.url));

interface AgentSpec {
  readonly name: string;
  readonly role: "simulator" | "collector" | "relay" | "front" | "link";
  readonly flags: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** What the flags become at a restart, so that it has the ports of the first start. */
  readonly portFlags: (ready: ReadyLine) => Readonly<Record<string, string>>;
}

const LOOPBACK = "127.0.0.1";

function agent(state: StateDir, spec: AgentSpec): ProcessSpec {
  const command = [AGENTS, spec.role, "--exit-with-parent"];
  return {
    name: spec.name,
    args: [...command, ...flagArguments(spec.flags)],
    argsAgain: (ready) => [
      ...command,
      ...flagArguments({ ...spec.flags, ...spec.portFlags(ready) }),
    ],
    env: spec.env ?? {},
    logFile: join(state.logsDir, `${spec.name}.log`),
  };
}

function adminPort({ adminPort: port }: ReadyLine): Readonly<Record<string, string>> {
  return { "admin-listen": `${LOOPBACK}:${String(port)}` };
}

/**
 * The TCP front that passes a client's disconnect on to workerd. `host` is in brackets if it is an
 * IPv6 address.
 */
export function frontProcess(state: StateDir, host: string, port: number): ProcessSpec {
  return agent(state, {
    name: "front",
    role: "front",
    flags: { listen: `${host}:${port}`, upstream: `unix:${state.socketPath}` },
    portFlags: (ready) => ({ listen: `${host}:${String(ready["port"])}`, ...adminPort(ready) }),
  });
}

export interface LinkOptions {
  readonly name: string;
  /** `host:port` */
  readonly target: string;
  readonly rttMs: number;
}

export const LINKS_PROCESS = "links";

/** All links of a run. Its ready line has their ports, in their order. */
export function linksProcess(state: StateDir, links: readonly LinkOptions[]): ProcessSpec {
  const at = (ports: readonly unknown[]) =>
    JSON.stringify(links.map((link, i) => ({ ...link, port: ports[i] ?? 0 })));
  return agent(state, {
    name: LINKS_PROCESS,
    role: "link",
    flags: { links: at([]), "admin-listen": `${LOOPBACK}:0` },
    portFlags: (ready) => ({ links: at(ready["ports"] as number[]), ...adminPort(ready) }),
  });
}

/** Any free ports, on this machine only. */
const KV_EVENTS_CONFIG = JSON.stringify({
  endpoint: `tcp://${LOOPBACK}:*`,
  replay_endpoint: `tcp://${LOOPBACK}:*`,
});

/** Of a process of engines. */
export function enginesName(pool: Pick<LocalPool, "name">, { name }: Pick<EngineGroup, "name">) {
  return `engines-${pool.name}${name === "sim" ? "" : `-${name}`}`;
}

export function enginesProcess(
  state: StateDir,
  pool: LocalPool,
  group: EngineGroup & { readonly source: EngineSource & { readonly kind: "simulated" } },
  hasKvEvents: boolean,
): ProcessSpec {
  const { source } = group;
  return agent(state, {
    name: enginesName(pool, group),
    role: "simulator",
    flags: {
      engines: String(group.count),
      port: "0",
      "served-model-name": pool.models.join(","),
      "time-scale": String(source.timeScale),
      ...(hasKvEvents ? { "kv-events-config": KV_EVENTS_CONFIG } : {}),
      ...group.flags,
      ...source.flags,
    },
    portFlags: (ready) => ({
      ports: (ready["ports"] as number[]).join(","),
      "side-channel-port": String(ready["sideChannelPort"]),
      ...kvPortFlag("kv-events-ports", ready["kvEventPorts"]),
      ...kvPortFlag("kv-replay-ports", ready["kvReplayPorts"]),
    }),
  });
}

/** Nothing where no engine publishes. */
function kvPortFlag(name: string, ports: unknown): Readonly<Record<string, string>> {
  return Array.isArray(ports) ? { [name]: ports.join(",") } : {};
}

/** Labels by which the collector finds what engine `index` publishes. */
export function kvEventLabels(ready: ReadyLine, index: number): Readonly<Record<string, string>> {
  const label = (name: string, ports: unknown) =>
    Array.isArray(ports) ? { [name]: `tcp://${LOOPBACK}:${String(ports[index])}` } : {};
  return {
    ...label("fairlead/kv-events-url", ready["kvEventPorts"]),
    ...label("fairlead/kv-replay-url", ready["kvReplayPorts"]),
  };
}

/** What relay and collector of a pool have in common. */
export interface PoolAgentOptions {
  readonly pool: LocalPool;
  readonly endpointsFile: string;
  /** Base URL of the Worker. */
  readonly url: string;
  /** Of relays, besides. */
  readonly relayFlags: Readonly<Record<string, string>>;
}

export function collectorName({ name }: Pick<LocalPool, "name">): string {
  return `collector-${name}`;
}

export function collectorProcess(
  state: StateDir,
  options: PoolAgentOptions,
  hasKvEvents: boolean,
): ProcessSpec {
  const { kvKeys } = options.pool;
  const name = collectorName(options.pool);
  const isLearning = hasKvEvents && kvKeys === "content";
  return agent(state, {
    name,
    role: "collector",
    flags: {
      ...poolFlags(name, options),
      ...(hasKvEvents ? { "kv-events": "connect", "kv-keys": kvKeys } : {}),
      ...(isLearning ? { "learn-listen": `${LOOPBACK}:0` } : {}),
    },
    portFlags: (ready) => ({
      ...adminPort(ready),
      ...(isLearning ? { "learn-listen": `${LOOPBACK}:${String(ready["learnPort"])}` } : {}),
    }),
    env: { FAIRLEAD_AGENT_TOKEN: options.pool.agentToken },
  });
}

/** Of the pool's relay number `index`. */
export function relayName({ name }: Pick<LocalPool, "name">, index: number): string {
  return `relay-${name}${index === 0 ? "" : `-${index}`}`;
}

/** `learnPort` is the collector's; undefined where nothing is learned. */
export function relayProcess(
  state: StateDir,
  options: PoolAgentOptions,
  relay: LocalRelay,
  learnPort: number | undefined,
): ProcessSpec {
  const index = options.pool.relays.indexOf(relay);
  const name = relayName(options.pool, index);
  return agent(state, {
    name,
    role: "relay",
    flags: {
      listen: relay.listen,
      ...poolFlags(name, options),
      ...options.relayFlags,
      ...(learnPort === undefined ? {} : { "learn-to": `http://${LOOPBACK}:${learnPort}` }),
    },
    portFlags: adminPort,
    env: {
      FAIRLEAD_AGENT_TOKEN: options.pool.agentToken,
      FAIRLEAD_RELAY_KEYS: relay.keys.map(({ id, secret }) => `${id}:${secret}`).join(","),
    },
  });
}

function poolFlags(name: string, options: PoolAgentOptions): Readonly<Record<string, string>> {
  return {
    endpoints: options.endpointsFile,
    pool: options.pool.name,
    connect: options.url,
    name,
    "admin-listen": `${LOOPBACK}:0`,
  };
}

function flagArguments(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
}
