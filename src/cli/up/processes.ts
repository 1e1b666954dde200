// How each process of a run is started: arguments, secrets, log.

import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ADMIN_KEY_VARIABLE } from "../workerd-config.ts";
import type { ProcessSpec } from "./child-process.ts";
import type { LocalPool, LocalRelay } from "./deployment.ts";
import type { EngineSource } from "./options.ts";
import type { StateDir } from "./state-dir.ts";

const AGENTS = fileURLToPath(new URL("../../agents/main.ts", import.meta.url));
const GUARD = fileURLToPath(new URL("guard.ts", import.meta.url));

interface AgentSpec {
  readonly name: string;
  readonly role: "simulator" | "collector" | "relay" | "front";
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

function agent(state: StateDir, spec: AgentSpec): ProcessSpec {
  return {
    name: spec.name,
    args: [AGENTS, spec.role, ...spec.args, "--exit-with-parent"],
    env: spec.env ?? {},
    logFile: join(state.logsDir, `${spec.name}.log`),
  };
}

export function workerdProcess(state: StateDir, configFile: string, adminKey: string): ProcessSpec {
  // The package's main module gives the path of the binary for this platform. It has no types.
  const { default: binary } = createRequire(import.meta.url)("workerd") as { default: string };
  return {
    name: "workerd",
    args: [GUARD, binary, "serve", configFile],
    env: { [ADMIN_KEY_VARIABLE]: adminKey },
    logFile: join(state.logsDir, "workerd.log"),
  };
}

/** The TCP front that passes a client's disconnect on to workerd. */
export function frontProcess(state: StateDir, listen: string): ProcessSpec {
  return agent(state, {
    name: "front",
    role: "front",
    args: flags({ listen, upstream: `unix:${state.socketPath}` }),
  });
}

export function enginesProcess(
  state: StateDir,
  pool: LocalPool,
  source: EngineSource & { readonly kind: "simulated" },
): ProcessSpec {
  return agent(state, {
    name: `engines-${pool.name}`,
    role: "simulator",
    args: [
      ...flags({
        engines: String(source.count),
        port: "0",
        "served-model-name": pool.models.join(","),
        "time-scale": String(source.timeScale),
      }),
      ...source.args,
    ],
  });
}

/** What relay and collector of a pool have in common. */
export interface PoolAgentOptions {
  readonly pool: LocalPool;
  readonly endpointsFile: string;
  /** Base URL of the Worker. */
  readonly url: string;
}

export function collectorProcess(state: StateDir, options: PoolAgentOptions): ProcessSpec {
  const name = `collector-${options.pool.name}`;
  return agent(state, {
    name,
    role: "collector",
    args: poolArguments(name, options),
    env: { FAIRLEAD_AGENT_TOKEN: options.pool.agentToken },
  });
}

export function relayProcess(
  state: StateDir,
  options: PoolAgentOptions,
  relay: LocalRelay,
): ProcessSpec {
  const index = options.pool.relays.indexOf(relay);
  const name = `relay-${options.pool.name}${index === 0 ? "" : `-${index}`}`;
  return agent(state, {
    name,
    role: "relay",
    args: [...flags({ listen: relay.listen }), ...poolArguments(name, options)],
    env: {
      FAIRLEAD_AGENT_TOKEN: options.pool.agentToken,
      FAIRLEAD_RELAY_KEYS: relay.keys.map(({ id, secret }) => `${id}:${secret}`).join(","),
    },
  });
}

function poolArguments(name: string, options: PoolAgentOptions): string[] {
  return flags({
    endpoints: options.endpointsFile,
    pool: options.pool.name,
    connect: options.url,
    name,
    "admin-listen": "127.0.0.1:0",
  });
}

function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
}
