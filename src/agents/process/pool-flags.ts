// Flags and environment of the agents that serve one pool.

import { hostname } from "node:os";
import { DISCOVERY_FLAGS } from "../discovery/flags.ts";
import { listenFlag, PROCESS_FLAGS, textFlag, urlFlag, UsageError } from "./flags.ts";

export const POOL_FLAGS = {
  pool: textFlag("NAME", "the pool's name in the configuration"),
  connect: urlFlag("Fairlead's base URL", ["http", "https", "ws", "wss"]),
  ...DISCOVERY_FLAGS,
  name: textFlag("NAME", "this agent's name, unique in the pool (default ROLE-HOSTNAME)", null),
  "admin-listen": listenFlag("where /health and /metrics are served", "127.0.0.1:0"),
  ...PROCESS_FLAGS,
} as const;

/** A secret from the environment: never a flag, because command lines are public on a machine. */
export function requireEnv(name: string, meaning: string): string {
  const value = process.env[name] ?? "";
  if (value === "")
    throw new UsageError(`The environment variable ${name} is not set: ${meaning}.`);
  return value;
}

/** `name` or `ROLE-HOSTNAME`. */
export function agentName(role: string, name: string | null): string {
  return name ?? `${role}-${hostname()}`;
}

export const AGENT_TOKEN_ENV = "FAIRLEAD_AGENT_TOKEN";
