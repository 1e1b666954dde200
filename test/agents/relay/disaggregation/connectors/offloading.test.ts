import { describe, expect, it } from "vitest";
import type { Pairing } from "../../../../../src/agents/relay/disaggregation/connector.ts";
import { CONNECTOR_DEFAULTS } from "../../../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { createOffloading } from "../../../../../src/agents/relay/disaggregation/connectors/offloading.ts";

const BODY = Buffer.from('{"prompt":"x"}');
const RANKS = { ...CONNECTOR_DEFAULTS, dataParallelSize: 4, dataParallelBasePort: 8000 };
const connector = createOffloading(RANKS);
const request = { api: "completions", body: BODY } as const;

function paramsOf(bytes: Uint8Array): Record<string, Record<string, unknown>> {
  const body = JSON.parse(Buffer.from(bytes).toString()) as {
    kv_transfer_params: Record<string, Record<string, unknown>>;
  };
  return body.kv_transfer_params;
}

function split(more: Partial<Pairing>) {
  const pairing = {
    prefiller: "10.0.0.1:8002",
    decoder: "10.0.0.2:8000",
    transferId: "a",
    ...more,
  };
  return connector.handOff(request, pairing)!;
}

describe("offloading", () => {
  it.for([
    { prefiller: "10.0.0.1:8000", port: 7777 },
    { prefiller: "10.0.0.1:8003", port: 7780 },
    { prefiller: "10.0.0.1:8004", port: 7777 },
    { prefiller: "10.0.0.1:7999", port: 7777 },
  ])("finds the tier of $prefiller at $port", ({ prefiller, port }) => {
    const handOff = split({ prefiller });
    expect(paramsOf(handOff.decode(undefined).body)).toEqual({
      remote_prefiller: { kv_request_id: "a", remote_host: "10.0.0.1", remote_port: port },
    });
  });

  it("lets the prefiller copy from a third, but not from itself", () => {
    const source = { kv_request_id: "a-source", remote_host: "10.0.0.3", remote_port: 7778 };
    expect(paramsOf(split({ kvSource: "10.0.0.3:8001" }).prefill.body)).toEqual({
      remote_decoder: { kv_request_id: "a" },
      remote_kv_source: source,
    });
    expect(paramsOf(split({ kvSource: "10.0.0.1:8002" }).prefill.body)).toEqual({
      remote_decoder: { kv_request_id: "a" },
    });
  });

  it("lets a decoder copy where nobody prefills, but not from itself", () => {
    const pull = { decoder: "10.0.0.2:8000", kvSource: "10.0.0.2:8001", transferId: "a" };
    const leg = connector.pull!(request, pull)!;
    expect(paramsOf(leg.body)).toEqual({
      remote_kv_source: { kv_request_id: "a-source", remote_host: "10.0.0.2", remote_port: 7778 },
    });
    expect(connector.pull!(request, { ...pull, kvSource: pull.decoder })).toBeUndefined();
  });
});
