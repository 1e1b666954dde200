// Every connector's legs, compared byte for byte: out of the connector for every API, and over HTTP, through a
// relay, for those that the edge serves.

import { afterEach, describe, expect, it } from "vitest";
import { createConnector } from "../../../src/agents/relay/disaggregation/connectors/registry.ts";
import { CONNECTOR_DEFAULTS } from "../../../src/agents/relay/disaggregation/connectors/peers.ts";
import {
  runSplitRelay,
  startScriptedEngine,
  type LegSeen,
  type Script,
} from "../../agents/support/split-relay.ts";
import { LEG_TABLE, namesIn, PARAMS, withoutNames, type LegRow } from "./leg-table.ts";

const TRANSFER_ID = "0e0d5c35-6a0f-4bd4-90a5-50f4fd5e1b10";
const BOOTSTRAP = { 0: { engine_id: "engine-0" } };
const PREFILLED = `{"id":"x","choices":[],"kv_transfer_params":${PARAMS},"usage":null}`;
const PATHS = { chat: "/v1/chat/completions", completions: "/v1/completions" } as const;
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
const ANSWER = '{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}';

const decodes: Script = (response, leg) => {
  if (!leg.text.includes('"stream":true')) return json(ANSWER)(response, leg);
  response.writeHead(200, { "content-type": "text/event-stream" }).end(EVENTS);
};

/** The headers of a leg that are the same whichever way it took, without those that hold values. */
function headersOf({ headers }: LegSeen): Record<string, unknown> {
  const { host, "content-length": _, traceparent, "x-request-id": id, ...rest } = headers;
  expect(host).toMatch(/^127\.0\.0\.1:/);
  expect(traceparent).toMatch(/^00-/);
  expect(id).toMatch(/./);
  return rest;
}

const OVER_HTTP = LEG_TABLE.filter(
  (row): row is LegRow & { api: keyof typeof PATHS } => row.api in PATHS,
);

describe.for(OVER_HTTP)("$connector of $api with $name, over HTTP", (row) => {
  it("brings both engines their legs, and the client its answer", async () => {
    const labels = { "fairlead/kv-connector": row.connector };
    const prefiller = stack.use(await startScriptedEngine(json(PREFILLED), labels));
    const decoder = stack.use(await startScriptedEngine(decodes, labels));
    const bootstrap = stack.use(await startScriptedEngine(json(JSON.stringify(BOOTSTRAP))));
    const port = bootstrap.address.split(":")[1]!;
    const relay = stack.use(
      await runSplitRelay([prefiller, decoder], { mooncakePort: Number(port) }),
    );
    const answer = await relay.open([decoder.address], { prefill: prefiller.address }, row.body, {
      signing: { path: PATHS[row.api] },
    });
    expect([answer.status, await answer.text()]).toEqual([
      200,
      row.body.includes('"stream":true') ? EVENTS : ANSWER,
    ]);

    const legs = [prefiller.legs, decoder.legs].map((seen) => {
      expect(seen).toHaveLength(1);
      return seen[0]!;
    }) as [LegSeen, LegSeen];
    const [prefill, decode] = legs;
    expect(withoutNames(prefill.text)).toBe(row.prefill.replaceAll("<port>", port));
    expect(withoutNames(decode.text)).toBe(row.decode.replaceAll("<port>", port));
    expect(namesIn(decode.text)).toEqual(row.connector === "nixlv2" ? [] : namesIn(prefill.text));
    expect(legs.map(({ url }) => url)).toEqual([PATHS[row.api], PATHS[row.api]]);
    expect(decode.headers["x-request-id"]).toBe(prefill.headers["x-request-id"]);
    const common = { accept: "*/*", connection: "keep-alive", "content-type": "application/json" };
    const rank = row.connector === "mooncake" ? { "x-data-parallel-rank": "0" } : {};
    expect(headersOf(prefill)).toEqual({ ...common, ...rank });
    expect(headersOf(decode)).toEqual(common);
    expect(bootstrap.legs.map(({ url }) => url)).toEqual(
      row.connector === "mooncake" ? ["/query"] : [],
    );
  });
});
