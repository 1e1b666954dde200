import { MetricRegistry } from "../../telemetry/metrics.ts";
import { endpointsFrom } from "../discovery/flags.ts";
import { startAdminServer } from "../process/admin-server.ts";
import { listenFlag, numberFlag, parseFlags } from "../process/flags.ts";
import { agentName, AGENT_TOKEN_ENV, POOL_FLAGS, requireEnv } from "../process/pool-flags.ts";
import { runAgent } from "../process/run-agent.ts";
import { DISAGGREGATION_FLAGS, disaggregationOptions } from "./disaggregation/flags.ts";
import { ENGINE_TLS_FLAGS, engineTls } from "./engine-tls.ts";
import { LEARN_FLAGS, learningOptions } from "./learning/flags.ts";
import { parseRelayKeys, RELAY_KEYS_ENV } from "./relay-keys.ts";
import { RELAY_LIMITS, startRelay } from "./relay.ts";
import { RENDER_FLAGS } from "./render/flags.ts";

const MIB = 1024 * 1024;

const USAGE = {
  role: "relay",
  summary: `Carries signed requests from the Worker to the engines of one pool.
Environment: ${RELAY_KEYS_ENV} holds "ID:SECRET[,ID:SECRET]", as in the relay's configuration;
${AGENT_TOKEN_ENV} holds the pool's agent token.`,
  flags: {
    listen: listenFlag("where the Worker reaches this relay", "127.0.0.1:9100"),
    "body-bytes-max": numberFlag(
      "largest request body, in bytes",
      { min: 1_024, max: 256 * MIB, isInteger: true },
      64 * MIB,
    ),
    ...DISAGGREGATION_FLAGS,
    ...ENGINE_TLS_FLAGS,
    ...RENDER_FLAGS,
    ...LEARN_FLAGS,
    ...POOL_FLAGS,
  },
} as const;

export async function run(args: string[]): Promise<void> {
  const flags = parseFlags(USAGE, args);
  const found = endpointsFrom(flags);
  const token = requireEnv(AGENT_TOKEN_ENV, "the pool's agentToken");
  const keys = parseRelayKeys(
    requireEnv(RELAY_KEYS_ENV, "the relay's keys, ID:SECRET[,ID:SECRET]"),
  );
  const learning = learningOptions(flags);
  const tls = engineTls(flags);
  const renderUrl = flags["render-url"];
  await runAgent({ role: "relay", ...flags }, async (logger) => {
    const registry = new MetricRegistry();
    const relay = await startRelay({
      listen: flags.listen,
      ...found,
      keys,
      bodyBytesMax: flags["body-bytes-max"],
      limits: RELAY_LIMITS,
      pool: flags.pool,
      agent: agentName("relay", flags.name),
      connect: flags.connect,
      token,
      logger,
      registry,
      engineTls: tls,
      disaggregation: disaggregationOptions(flags),
      ...(learning === undefined ? {} : { learning }),
      ...(renderUrl === null ? {} : { renderUrl }),
    });
    const admin = await startAdminServer({
      listen: flags["admin-listen"],
      registry,
      // A relay that lost its session still serves: its tickets wait in the outbox.
      health: () => ({
        isHealthy: relay.problem === undefined,
        detail: {
          endpoints: relay.endpointCount,
          ...relay.discovery,
          isConnected: relay.isConnected,
          problem: relay.problem ?? null,
        },
      }),
    });
    return {
      ready: { port: relay.port, adminPort: admin.port },
      async close() {
        await relay.close();
        await admin.close();
      },
    };
  });
}
