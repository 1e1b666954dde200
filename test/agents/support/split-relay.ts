// A relay of this process, scripted engines around it, and a way to ask it to split a request.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  TicketClosed,
  TicketPrefilled,
  TicketReport,
} from "../../../src/agents/protocol/messages.ts";
import { ConnectorTable } from "../../../src/agents/relay/disaggregation/connector-table.ts";
import type { EncodeConnectorName } from "../../../src/agents/relay/disaggregation/connectors/encode.ts";
import {
  CONNECTOR_DEFAULTS,
  type ConnectorOptions,
} from "../../../src/agents/relay/disaggregation/connectors/peers.ts";
import {
  PREFILL_POLICY,
  type PrefillPolicy,
} from "../../../src/agents/relay/disaggregation/split-request.ts";
import { parseRelayKeys } from "../../../src/agents/relay/relay-keys.ts";
import { RELAY_LIMITS, startRelay, type Relay } from "../../../src/agents/relay/relay.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "./logs.ts";
import { FakePoolObject } from "./pool-object.ts";
import { KEY, sign, type SigningOverrides } from "./signing.ts";

export interface LegSeen {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The relay went away before it had the whole answer. */
  isAborted: boolean;
}

export type Script = (response: ServerResponse, leg: LegSeen) => void;

export interface ScriptedEngine {
  readonly address: string;
  readonly legs: LegSeen[];
  script: Script;
  readonly labels: Record<string, string>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startScriptedEngine(
  script: Script,
  labels: Record<string, string> = {},
  host = "127.0.0.1",
): Promise<ScriptedEngine> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { url = "", headers } = request;
      const leg = { url, headers, text: Buffer.concat(chunks).toString(), isAborted: false };
      response.on("close", () => (leg.isAborted = !response.writableFinished));
      engine.legs.push(leg);
      engine.script(response, leg);
    });
  });
  server.listen(0, host);
  await once(server, "listening");
  const engine: ScriptedEngine = {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    legs: [],
    script,
    labels,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return engine;
}

export interface Stages {
  readonly prefill?: string;
  readonly encode?: string;
  readonly rank?: string;
  readonly source?: string;
}

export interface SplitRelay {
  readonly relay: Relay;
  readonly object: FakePoolObject;
  readonly registry: MetricRegistry;
  readonly lines: Record<string, unknown>[];
  /** Sends a signed request for `destinations` and `stages`. */
  open(
    destinations: readonly string[],
    stages: Stages,
    body?: string,
    more?: { readonly signal?: AbortSignal; readonly signing?: SigningOverrides },
  ): Promise<Response>;
  metric(series: string): number;
  closed(): readonly TicketClosed[];
  prefilled(): readonly TicketPrefilled[];
  [Symbol.asyncDispose](): Promise<void>;
}

export const CHAT = JSON.stringify({ model: "m", max_tokens: 7, messages: [] });

export interface SplitRelayOptions {
  readonly policy?: Partial<PrefillPolicy>;
  readonly limits?: { readonly [Name in keyof typeof RELAY_LIMITS]?: number };
  readonly bodyBytesMax?: number;
  readonly mooncakePort?: number;
  /** Over the defaults. */
  readonly engines?: Partial<ConnectorOptions>;
  readonly encodeConnector?: EncodeConnectorName;
  readonly decodeChunkTokens?: number;
}

export async function runSplitRelay(
  engines: readonly { address: string; labels?: Record<string, string> }[],
  options: SplitRelayOptions = {},
): Promise<SplitRelay> {
  const directory = await mkdtemp(join(tmpdir(), "fairlead-split-"));
  const endpointsPath = join(directory, "endpoints.json");
  const endpoints = engines.map(({ address, labels = {} }, i) => {
    const [host, port] = address.split(":");
    return { name: `e${i}`, address: host, port: Number(port), labels };
  });
  await writeFile(endpointsPath, JSON.stringify({ endpoints }));
  const object = await FakePoolObject.start();
  object.configure = { t: "configure", scrapeIntervalMs: 200, metrics: [], reportsStages: true };
  const registry = new MetricRegistry();
  const { logger, lines } = captureLogs("relay");
  const { encodeConnector, decodeChunkTokens } = options;
  const mooncakeBootstrapPort = options.mooncakePort ?? CONNECTOR_DEFAULTS.mooncakeBootstrapPort;
  const settings = { ...CONNECTOR_DEFAULTS, mooncakeBootstrapPort, ...options.engines };
  const relay = await startRelay({
    listen: { host: "127.0.0.1", port: 0 },
    endpointsPath,
    keys: parseRelayKeys(`${KEY.id}:${KEY.secret}`),
    bodyBytesMax: options.bodyBytesMax ?? 4 * 1024 * 1024,
    limits: { ...RELAY_LIMITS, ...options.limits },
    pool: "p",
    agent: "r",
    connect: object.url,
    token: "token",
    logger,
    registry,
    sessionTiming: { retryBaseMs: 10, retryCapMs: 50 },
    disaggregation: {
      connectors: new ConnectorTable("auto", settings),
      prefillPolicy: { ...PREFILL_POLICY, ...options.policy },
      ...(encodeConnector === undefined ? {} : { encodeConnector }),
      ...(decodeChunkTokens === undefined ? {} : { decodeChunkTokens }),
    },
  });
  const reports = <K extends TicketReport["kind"]>(kind: K) =>
    object.tickets.filter((report): report is Extract<TicketReport, { kind: K }> => {
      return report.kind === kind;
    });
  return {
    relay,
    object,
    registry,
    lines,
    open(destinations, stages, body = CHAT, { signal, signing } = {}) {
      const { prefill = "", encode = "", rank = "", source = "" } = stages;
      const facts = { stages: [prefill, encode, rank, source], ...signing };
      const path = facts.path ?? "/v1/chat/completions";
      return fetch(`http://127.0.0.1:${relay.port}${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...sign(destinations.join(","), body, facts),
        },
        body,
        ...(signal === undefined ? {} : { signal }),
      });
    },
    metric(series) {
      const line = registry
        .render()
        .split("\n")
        .find((each) => each.startsWith(`${series} `));
      return line === undefined ? 0 : Number(line.slice(series.length));
    },
    closed: () => reports("closed"),
    prefilled: () => reports("prefilled"),
    async [Symbol.asyncDispose]() {
      await relay.close();
      await object.close();
      await rm(directory, { recursive: true });
    },
  };
}
