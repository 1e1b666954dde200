import { MetricRegistry } from "../../telemetry/metrics.ts";
import { startAdminServer } from "../process/admin-server.ts";
import { listenFlag, numberFlag, parseFlags, PROCESS_FLAGS, type Flag } from "../process/flags.ts";
import { parseListenAddress } from "../process/listen.ts";
import { runAgent } from "../process/run-agent.ts";
import { FRONT_CONNECTIONS_MAX, startFront, type Upstream } from "./front.ts";

/** The kernel's bound on a unix socket's path, its closing zero included. */
const SOCKET_PATH_BYTES_MAX = 107;

const upstreamFlag: Flag<Upstream> = {
  placeholder: "unix:PATH|HOST:PORT",
  help: "where workerd listens",
  fallback: undefined,
  parse(text) {
    const expected = `unix:PATH (at most ${SOCKET_PATH_BYTES_MAX} bytes) or host:port`;
    if (text.startsWith("unix:")) {
      const path = text.slice("unix:".length);
      const isGood = path !== "" && Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX;
      return isGood ? { ok: true, value: { path } } : { ok: false, expected };
    }
    const address = parseListenAddress(text);
    return address === undefined || address.port === 0
      ? { ok: false, expected }
      : { ok: true, value: address };
  },
};

const USAGE = {
  role: "front",
  summary: "TCP front before workerd: passes a client's disconnect on, which workerd overlooks.",
  flags: {
    listen: listenFlag("where clients connect", "127.0.0.1:8787"),
    upstream: upstreamFlag,
    "connections-max": numberFlag(
      "connections at once",
      { min: 1, max: 1_000_000, isInteger: true },
      FRONT_CONNECTIONS_MAX,
    ),
    "admin-listen": listenFlag("where /health and /metrics are served", "127.0.0.1:0"),
    ...PROCESS_FLAGS,
  },
} as const;

export async function run(args: string[]): Promise<void> {
  const flags = parseFlags(USAGE, args);
  await runAgent({ role: "front", ...flags }, async (logger) => {
    const registry = new MetricRegistry();
    const front = await startFront({
      listen: flags.listen,
      upstream: flags.upstream,
      connectionsMax: flags["connections-max"],
      logger,
      registry,
    });
    const admin = await startAdminServer({
      listen: flags["admin-listen"],
      registry,
      health: () => ({ isHealthy: true, detail: {} }),
    });
    return {
      ready: { port: front.port, adminPort: admin.port },
      async close() {
        await front.close();
        await admin.close();
      },
    };
  });
}
