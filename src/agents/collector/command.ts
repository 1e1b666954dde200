import { MetricRegistry } from "../../telemetry/metrics.ts";
import { endpointsFrom } from "../discovery/flags.ts";
import { startAdminServer } from "../process/admin-server.ts";
import { parseFlags, UsageError } from "../process/flags.ts";
import { agentName, AGENT_TOKEN_ENV, POOL_FLAGS, requireEnv } from "../process/pool-flags.ts";
import { runAgent } from "../process/run-agent.ts";
import { startCollector } from "./collector.ts";
import { KV_EVENT_FLAGS, kvEventsMode } from "./kv-events/flags.ts";
import { LEARN_FLAGS } from "./learning/flags.ts";
import { KV_KEYS_FLAGS } from "./token-keys/flags.ts";

const USAGE = {
  role: "collector",
  summary: `Scrapes the engines of one pool and reports to the pool's object.
The environment variable ${AGENT_TOKEN_ENV} holds the pool's agent token.`,
  flags: { ...POOL_FLAGS, ...KV_EVENT_FLAGS, ...KV_KEYS_FLAGS, ...LEARN_FLAGS },
} as const;

export async function run(args: string[]): Promise<void> {
  const flags = parseFlags(USAGE, args);
  const mode = kvEventsMode(flags);
  const learnListen = flags["learn-listen"];
  if (mode === null && learnListen !== null) {
    throw new UsageError("--learn-listen needs --kv-events connect or bind.");
  }
  const keys = flags["kv-keys"];
  if (keys === "tokens" && learnListen !== null) {
    throw new UsageError("--learn-listen needs --kv-keys content: of tokens nothing is learned.");
  }
  const found = endpointsFrom(flags);
  const token = requireEnv(AGENT_TOKEN_ENV, "the pool's agentToken");
  await runAgent({ role: "collector", ...flags }, async (logger) => {
    const registry = new MetricRegistry();
    const collector = await startCollector({
      ...found,
      pool: flags.pool,
      agent: agentName("collector", flags.name),
      connect: flags.connect,
      token,
      logger,
      registry,
      ...(mode === null ? {} : { kvEvents: { mode, keys, learnListen } }),
    });
    const admin = await startAdminServer({
      listen: flags["admin-listen"],
      registry,
      health: () => ({
        isHealthy: collector.isHealthy,
        detail: {
          endpoints: collector.endpointCount,
          ...collector.discovery,
          problem: collector.problem ?? null,
        },
      }),
    });
    return {
      ready: {
        adminPort: admin.port,
        ...kvEventsPort(collector.kvEventsUrl),
        ...(collector.learnPort === undefined ? {} : { learnPort: collector.learnPort }),
      },
      async close() {
        await Promise.all([collector.close(), admin.close()]);
      },
    };
  });
}

/** Where publishers dial, for who asked for any free port. */
function kvEventsPort(url: string | undefined): Record<string, number> {
  return url === undefined ? {} : { kvEventsPort: Number(url.slice(url.lastIndexOf(":") + 1)) };
}
