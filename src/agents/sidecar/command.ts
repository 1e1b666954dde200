import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MetricRegistry } from "../../telemetry/metrics.ts";
import { DISCOVERY_FLAGS, endpointsFrom } from "../discovery/flags.ts";
import { startAdminServer } from "../process/admin-server.ts";
import {
  choiceFlag,
  listenFlag,
  numberFlag,
  parseFlags,
  PROCESS_FLAGS,
  switchFlag,
  textFlag,
  UsageError,
} from "../process/flags.ts";
import { runAgent } from "../process/run-agent.ts";
import { CONNECTOR_NAMES } from "../relay/disaggregation/connector.ts";
import { DISAGGREGATION_FLAGS, disaggregationOptions } from "../relay/disaggregation/flags.ts";
import { ENGINE_TLS_FLAGS, engineTls } from "../relay/engine-tls.ts";
import { startSidecar } from "./sidecar.ts";

const MIB = 1024 * 1024;
const { "data-parallel-base-port": _, ...SPLIT_FLAGS } = DISAGGREGATION_FLAGS;

const USAGE = {
  role: "sidecar",
  summary: `Splits requests beside a decoder, in the place of llm-d's routing sidecar: it heeds the headers
that llm-d's endpoint picker sets, and connects to nobody but the endpoints that it finds.`,
  flags: {
    host: textFlag("HOST", "where it listens", "0.0.0.0"),
    port: numberFlag(
      "of rank 0; the other ranks' follow",
      { min: 0, max: 65_535, isInteger: true },
      8_000,
    ),
    "model-server-port": numberFlag(
      "of the engine's rank 0 on this host; the other ranks' follow",
      { min: 1, max: 65_535, isInteger: true },
      8_200,
    ),
    "own-host": textFlag(
      "HOST",
      "how others call this host, besides the addresses of its interfaces (default: $POD_IP)",
      null,
    ),
    ...DISCOVERY_FLAGS,
    "enable-prefiller-sampling": switchFlag("ask any of the prefillers named, not the first"),
    "cert-path": textFlag(
      "DIR",
      "tls.crt and tls.key of the listener; without, it speaks no TLS",
      null,
    ),
    "body-bytes-max": numberFlag(
      "largest body of a request that may be split, in bytes",
      { min: 1_024, max: 256 * MIB, isInteger: true },
      64 * MIB,
    ),
    ...SPLIT_FLAGS,
    "kv-connector": choiceFlag(CONNECTOR_NAMES, "how engines hand KV caches over", "nixlv2"),
    ...ENGINE_TLS_FLAGS,
    "admin-listen": listenFlag("where /health and /metrics are served", "127.0.0.1:0"),
    ...PROCESS_FLAGS,
  },
} as const;

export async function run(args: string[]): Promise<void> {
  const flags = parseFlags(USAGE, args);
  const found = endpointsFrom(flags);
  const tls = listenerTls(flags["cert-path"]);
  const engines = engineTls(flags);
  const ownHost = flags["own-host"] ?? process.env["POD_IP"];
  const disaggregation = disaggregationOptions({
    ...flags,
    "data-parallel-base-port": Math.max(1, flags.port),
  });
  await runAgent({ role: "sidecar", ...flags }, async (logger) => {
    const registry = new MetricRegistry();
    const sidecar = await startSidecar({
      host: flags.host,
      port: flags.port,
      modelServerPort: flags["model-server-port"],
      ...(ownHost === undefined ? {} : { ownHost }),
      dataParallelSize: flags["data-parallel-size"],
      ...found,
      bodyBytesMax: flags["body-bytes-max"],
      samplesPrefillers: flags["enable-prefiller-sampling"],
      disaggregation,
      engineTls: engines,
      ...(tls === undefined ? {} : { tls }),
      logger,
      registry,
    });
    const admin = await startAdminServer({
      listen: flags["admin-listen"],
      registry,
      health: () => ({
        isHealthy: sidecar.problem === undefined,
        detail: { ...sidecar.discovery, problem: sidecar.problem ?? null },
      }),
    });
    return {
      ready: { ports: sidecar.ports, adminPort: admin.port },
      async close() {
        await sidecar.close();
        await admin.close();
      },
    };
  });
}

function listenerTls(directory: string | null) {
  if (directory === null) return undefined;
  try {
    const read = (name: string) => readFileSync(join(directory, name), "utf8");
    return { cert: read("tls.crt"), key: read("tls.key") };
  } catch (error) {
    throw new UsageError(`--cert-path: ${error instanceof Error ? error.message : String(error)}`);
  }
}
