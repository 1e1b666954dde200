// The configuration that `fairlead up` applies: its own, or a file's with the pools that can run here.

import type { Deployment, PoolConfig } from "../../config/deployment.ts";
import { KEPT_SECRET } from "../../config/deployment.ts";
import { CliError } from "../cli-error.ts";
import type { Keys } from "./state-dir.ts";

/** Name of the pool, and of the tenant, when no configuration file is given. */
const LOCAL_POOL = "local";
const LOCAL_TENANT = "default";

/** A relay that runs on this machine. */
export interface LocalRelay {
  readonly listen: string;
  readonly keys: readonly { readonly id: string; readonly secret: string }[];
}

/** A pool whose relay, collector and perhaps engines run on this machine. */
export interface LocalPool {
  readonly name: string;
  readonly models: readonly string[];
  readonly agentToken: string;
  readonly relays: readonly LocalRelay[];
  /** What its prefixes are known by. */
  readonly kvKeys: KvKeys;
}

export type KvKeys = "content" | "tokens";

/** As in a pool's configuration. */
export const DECIDE_KINDS = ["auto", "local", "consult"] as const satisfies PoolConfig["decide"][];
export type DecideKind = (typeof DECIDE_KINDS)[number];

/** What pools of the same deployment have in common. */
export interface DefaultOptions {
  readonly kvKeys: KvKeys;
  /** As a configuration has it; undefined: as a pool does that says nothing of it. */
  readonly scheduler?: unknown;
  readonly decide?: DecideKind | undefined;
  readonly shards?: number | undefined;
}

/** What each has to itself. */
export interface PoolOptions {
  readonly name: string;
  readonly region: string;
  /** Where the Worker reaches its relay on this machine. */
  readonly relayPort: number;
  readonly rttMs?: number;
}

/** The one pool of a run that is not of clusters. */
export function localPoolOptions(relayPort: number): PoolOptions {
  return { name: LOCAL_POOL, region: "local", relayPort };
}

/** The configuration without a file: pools that all serve the same, one tenant, the keys of the state directory. */
export function defaultDeployment(
  keys: Keys,
  models: readonly string[],
  pools: readonly PoolOptions[],
  { kvKeys, scheduler, decide, shards }: DefaultOptions,
): unknown {
  return {
    version: 1,
    pools: pools.map(({ name, region, relayPort, rttMs }) => ({
      name,
      region,
      models: [...models],
      agentToken: keys.agentToken,
      relays: [
        { url: `http://127.0.0.1:${relayPort}`, keys: [{ id: "k1", secret: keys.relaySecret }] },
      ],
      ...(rttMs === undefined ? {} : { rttMs }),
      ...(scheduler === undefined ? {} : { scheduler }),
      ...(decide === undefined ? {} : { decide }),
      ...(shards === undefined ? {} : { shards }),
      ...(kvKeys === "tokens" ? { prefixKeys: { kind: "tokens", by: "render" } } : {}),
    })),
    tenants: [{ id: LOCAL_TENANT, keys: [keys.key] }],
  };
}

/**
 * The pools with a relay on this machine: one whose URL is http:// with a loopback host and a port.
 * Other relays, and the collectors beside them, are run by somebody else.
 */
export function localPools(deployment: Deployment): LocalPool[] {
  return deployment.pools.flatMap((pool, index) => {
    const relays = pool.relays.flatMap((relay, r) => {
      const listen = loopbackAddress(relay.url);
      if (listen === undefined) return [];
      if (relay.keys.some((key) => key.secret === KEPT_SECRET))
        throw cannotRun(`pools[${index}].relays[${r}].keys`, "the relay's secret in plain text");
      // The relay's environment holds its keys as a list.
      if (relay.keys.some((key) => key.secret.includes(",")))
        throw cannotRun(`pools[${index}].relays[${r}].keys`, "a relay secret without commas");
      return [{ listen, keys: relay.keys }];
    });
    return relays.length === 0 ? [] : [localPool(pool, relays, index)];
  });
}

function localPool(pool: PoolConfig, relays: LocalRelay[], index: number): LocalPool {
  if (pool.agentToken.startsWith("sha256:"))
    throw cannotRun(`pools[${index}].agentToken`, "the token in plain text, not its hash");
  const { name, models, agentToken, prefixKeys } = pool;
  return { name, models, agentToken, relays, kvKeys: prefixKeys?.kind ?? "content" };
}

function cannotRun(path: string, needed: string): CliError {
  return new CliError(
    `${path}: a pool whose relay is on this machine is run by \`fairlead up\`, which needs ${needed}.`,
  );
}

/** `host:port` of a relay on this machine. */
function loopbackAddress(relayUrl: string): string | undefined {
  const url = new URL(relayUrl);
  const isLoopback = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (url.protocol !== "http:" || !isLoopback || url.port === "") return undefined;
  return url.host;
}

/** A key that a client can use, and the tenant it belongs to; undefined if only hashes are known. */
export function usableKey(deployment: Deployment): string | undefined {
  for (const tenant of deployment.tenants) {
    const key = tenant.keys.find((candidate) => !candidate.startsWith("sha256:"));
    if (key !== undefined) return key;
  }
  return undefined;
}
