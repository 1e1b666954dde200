// Every connector's legs, compared byte for byte: out of the connector, and over HTTP for every API through a
// sidecar and through a relay for those that the edge serves.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, it } from "vitest";
import { ConnectorTable } from "../../../src/agents/relay/disaggregation/connector-table.ts";
import { createConnector } from "../../../src/agents/relay/disaggregation/connectors/registry.ts";
import { CONNECTOR_DEFAULTS } from "../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { PREFILL_POLICY } from "../../../src/agents/relay/disaggregation/split-request.ts";
import { ENGINE_TLS_DEFAULTS } from "../../../src/agents/relay/engine-tls.ts";
import { startSidecar } from "../../../src/agents/sidecar/sidecar.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../../agents/support/logs.ts";
import {
  runSplitRelay,
  startScriptedEngine,
  type LegSeen,
  type Script,
  type ScriptedEngine,
} from "../../agents/support/split-relay.ts";
import { LEG_TABLE, namesIn, PARAMS, withoutNames, type LegRow } from "./leg-table.ts";

const TRANSFER_ID = "0e0d5c35-6a0f-4bd4-90a5-50f4fd5e1b10";
const BOOTSTRAP = { 0: { engine_id: "engine-0" } };
const PREFILLED = `{"id":"x","choices":[],"kv_transfer_params":${PARAMS},"usage":null}`;
const PATHS = {
  chat: "/v1/chat/completions",
  completions: "/v1/completions",
  messages: "/v1/messages",
  responses: "/v1/responses",
  generate: "/inference/v1/generate",
} as const;
const OF_EDGE: ReadonlySet<string> = new Set(["chat", "completions"]);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

describe.for(LEG_TABLE)("$connector of $api with $name", (row) => {
  it("gives both legs as written", () => {
    const connector = createConnector(row.connector, CONNECTOR_DEFAULTS);
    const handOff = connector.handOff(
      { api: row.api, body: Buffer.from(row.body) },
      {
        prefiller: "127.0.0.1:8000",
        decoder: "127.0.0.2:8000",
        transferId: TRANSFER_ID,
        bootstrap: BOOTSTRAP,
      },
    )!;
    const isSequential = connector.order === "sequential";
    const decode = handOff.decode(isSequential ? Buffer.from(PREFILLED) : undefined);
    const port = (leg: string) => leg.replaceAll("<port>", "8998");
    expect(withoutNames(text(handOff.prefill.body))).toBe(port(row.prefill));
    expect(withoutNames(text(decode.body))).toBe(port(row.decode));
    expect(decode.isHandedOver).toBe(true);
  });
});

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const json =
  (body: string): Script =>
  (response) =>
    response.writeHead(200, { "content-type": "application/json" }).end(body);
const EVENTS =
  'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
/** How streams of APIs end that name their events. */
const NAMED = {
  messages: 'event: message_stop\ndata: {"type":"message_stop"}\n\n',
  responses: 'event: response.completed\ndata: {"type":"response.completed"}\n\n',
};
/** Of a leg of a relay. */
const HEADERS = [
  "accept",
  "connection",
  "content-length",
  "content-type",
  "host",
  "traceparent",
  "x-request-id",
];
const ANSWER = '{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}';

function answerTo({ api, body }: LegRow): string {
  if (!body.includes('"stream":true')) return ANSWER;
  return api === "messages" || api === "responses" ? NAMED[api] : EVENTS;
}

const decodes =
  (row: LegRow): Script =>
  (response, leg) => {
    const answer = answerTo(row);
    if (answer === ANSWER) json(ANSWER)(response, leg);
    else response.writeHead(200, { "content-type": "text/event-stream" }).end(answer);
  };

/** A prefiller, a decoder and a bootstrap server of one family. */
async function engines(row: LegRow) {
  const labels = { "fairlead/kv-connector": row.connector };
  const prefiller = stack.use(await startScriptedEngine(json(PREFILLED), labels));
  const decoder = stack.use(await startScriptedEngine(decodes(row), labels));
  const bootstrap = stack.use(await startScriptedEngine(json(JSON.stringify(BOOTSTRAP))));
  return { prefiller, decoder, bootstrap, port: portOf(bootstrap) };
}

const portOf = ({ address }: ScriptedEngine) => Number(address.split(":")[1]);

/** Both legs as the engines received them, compared with the row. */
function expectLegs(row: LegRow, made: Awaited<ReturnType<typeof engines>>): [LegSeen, LegSeen] {
  const { prefiller, decoder, bootstrap, port } = made;
  const [prefill, decode] = [prefiller.legs[0]!, decoder.legs[0]!];
  expect([prefiller.legs.length, decoder.legs.length]).toEqual([1, 1]);
  expect(withoutNames(prefill.text)).toBe(row.prefill.replaceAll("<port>", String(port)));
  expect(withoutNames(decode.text)).toBe(row.decode.replaceAll("<port>", String(port)));
  expect(namesIn(decode.text)).toEqual(row.connector === "nixlv2" ? [] : namesIn(prefill.text));
  expect([prefill.url, decode.url]).toEqual([PATHS[row.api], PATHS[row.api]]);
  expect(prefill.headers["x-request-id"]).toMatch(/./);
  expect(decode.headers["x-request-id"]).toBe(prefill.headers["x-request-id"]);
  const isAsked = row.connector === "mooncake";
  expect(bootstrap.legs.map(({ url }) => url)).toEqual(isAsked ? ["/query"] : []);
  expect(prefill.headers["x-data-parallel-rank"]).toBe(isAsked ? "0" : undefined);
  return [prefill, decode];
}

const THROUGH_RELAY = LEG_TABLE.filter(({ api }) => OF_EDGE.has(api));

describe.for(THROUGH_RELAY)("$connector of $api with $name, through a relay", (row) => {
  it("brings both engines their legs and no header more, and the client its answer", async () => {
    const made = await engines(row);
    const { prefiller, decoder, port } = made;
    await using relay = await runSplitRelay([prefiller, decoder], { mooncakePort: port });
    const answer = await relay.open([decoder.address], { prefill: prefiller.address }, row.body, {
      signing: { path: PATHS[row.api] },
    });
    expect([answer.status, await answer.text()]).toEqual([200, answerTo(row)]);
    for (const { headers } of expectLegs(row, made)) {
      const { "x-data-parallel-rank": _, ...others } = headers;
      expect(Object.keys(others).toSorted()).toEqual(HEADERS);
    }
  });
});

async function startBeside(
  row: LegRow,
  { prefiller, decoder, port }: Awaited<ReturnType<typeof engines>>,
) {
  const directory = await mkdtemp(join(tmpdir(), "fairlead-legs-"));
  stack.defer(() => rm(directory, { recursive: true }));
  const endpointsPath = join(directory, "endpoints.json");
  const endpoints = [{ name: "p", address: "127.0.0.1", port: portOf(prefiller) }];
  await writeFile(endpointsPath, JSON.stringify({ endpoints }));
  const sidecar = await startSidecar({
    host: "127.0.0.1",
    port: 0,
    modelServerPort: portOf(decoder),
    dataParallelSize: 1,
    endpointsPath,
    bodyBytesMax: 100_000,
    samplesPrefillers: false,
    disaggregation: {
      connectors: new ConnectorTable(row.connector, {
        ...CONNECTOR_DEFAULTS,
        mooncakeBootstrapPort: port,
      }),
      prefillPolicy: PREFILL_POLICY,
    },
    engineTls: ENGINE_TLS_DEFAULTS,
    logger: captureLogs("sidecar").logger,
    registry: new MetricRegistry(),
  });
  stack.defer(() => sidecar.close());
  return sidecar;
}

describe.for(LEG_TABLE)("$connector of $api with $name, through a sidecar", (row) => {
  it("brings both engines their legs, and the client its answer", async () => {
    const made = await engines(row);
    const sidecar = await startBeside(row, made);
    const answer = await fetch(`http://127.0.0.1:${sidecar.ports[0]}${PATHS[row.api]}`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-prefiller-host-port": made.prefiller.address,
      },
      body: row.body,
    });
    expect([answer.status, await answer.text()]).toEqual([200, answerTo(row)]);
    for (const { headers } of expectLegs(row, made)) {
      expect(Object.keys(headers)).not.toContain("x-prefiller-host-port");
    }
  });
});
