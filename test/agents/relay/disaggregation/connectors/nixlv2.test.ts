import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type {
  Pairing,
  StagedApi,
} from "../../../../../src/agents/relay/disaggregation/connector.ts";
import { createNixlv2 } from "../../../../../src/agents/relay/disaggregation/connectors/nixlv2.ts";
import { CONNECTOR_DEFAULTS } from "../../../../../src/agents/relay/disaggregation/connectors/peers.ts";

const PAIRING: Pairing = {
  prefiller: "10.0.0.1:8000",
  decoder: "10.0.0.2:8000",
  transferId: "4f7c0a52-0d8e-4c39-9a0b-6a54d3a7e001",
};
const connector = createNixlv2(CONNECTOR_DEFAULTS);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function handOff(body: string, api: StagedApi = "chat", pairing = PAIRING, of = connector) {
  return of.handOff({ api, body: Buffer.from(body) }, pairing)!;
}

describe("nixlv2", () => {
  it("gives the decoder the request as it came, however its token limits stood", () => {
    const body = '{"max_tokens":1e2,"stream":true , "stream_options":{"include_usage":true}}';
    const leg = handOff(body).decode(Buffer.from('{"kv_transfer_params":{"a":1}}'));
    expect(text(leg.body)).toBe(`{"kv_transfer_params":{"a":1},${body.slice(1)}`);
    expect(leg.isHandedOver).toBe(true);
  });

  it.for([
    "",
    "{}",
    "not json",
    '{"kv_transfer_params":null}',
    '{"kv_transfer_params":[]}',
    '{"kv_transfer_params":{"a":01}}',
    '{"kv_transfer_params":{"a":1}',
  ])("lets the decoder compute the prompt where the prefiller says %j", (answer) => {
    const body = '{"prompt":"x"}';
    const leg = handOff(body, "completions").decode(Buffer.from(answer));
    expect(text(leg.body)).toBe(body);
    expect(leg.isHandedOver).toBe(false);
  });

  it("takes out parameters that a request brought", () => {
    const split = handOff('{"kv_transfer_params":{"remote_host":"evil"},"prompt":"x"}');
    expect(text(split.decode(Buffer.from("{}")).body)).toBe('{"prompt":"x"}');
    expect(text(split.decode(undefined).body)).toBe('{"prompt":"x"}');
  });

  it("leaves a body that is no object to the decoder", () => {
    const request = { api: "chat", body: Buffer.from("[1]") } as const;
    expect(connector.handOff(request, PAIRING)).toBeUndefined();
  });

  it("relays any parameters byte for byte", () => {
    const values = fc.oneof(
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.bigInt().map(String),
      fc.constantFrom("1.0", "1E+2", "0.30000000000000004441", String.raw`"\u00fc\ud83d"`),
    );
    const keys = fc.oneof(fc.string(), fc.constantFrom("ü🗝", "__proto__", '"', "\u0000"));
    const params = fc
      .uniqueArray(fc.tuple(keys, values), {
        selector: ([key]) => key,
        maxLength: 6,
      })
      .map((members) => members.map(([key, value]) => `${JSON.stringify(key)} : ${value}`))
      .map((members) => `{ ${members.join(" ,")}}`);
    fc.assert(
      fc.property(params, fc.jsonValue(), (raw, messages) => {
        const body = JSON.stringify({ messages, seed: 1 });
        const answer = Buffer.from(`{"id":"x","kv_transfer_params": ${raw} ,"usage":{}}`);
        const leg = handOff(body).decode(answer);
        expect(text(leg.body)).toBe(`{"kv_transfer_params":${raw},${body.slice(1)}`);
      }),
    );
  });

  it("names a source of blocks to the prefiller where vLLM runs both connectors", () => {
    const both = createNixlv2({ ...CONNECTOR_DEFAULTS, isP2pPullEnabled: true });
    const pairing = { ...PAIRING, kvSource: "10.0.0.3:8000" };
    const { prefill } = handOff('{"prompt":"x"}', "completions", pairing, both);
    const { kv_transfer_params: params } = JSON.parse(text(prefill.body)) as {
      kv_transfer_params: Record<string, unknown>;
    };
    expect(params["do_remote_decode"]).toBe(true);
    expect(params["remote_kv_source"]).toEqual({
      kv_request_id: `${PAIRING.transferId}-source`,
      remote_host: "10.0.0.3",
      remote_port: 7777,
    });
    const alone = handOff('{"prompt":"x"}', "completions", pairing).prefill;
    expect(text(alone.body)).not.toContain("remote_kv_source");
  });
});
