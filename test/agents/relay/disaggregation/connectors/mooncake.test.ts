import { describe, expect, it } from "vitest";
import type { Pairing } from "../../../../../src/agents/relay/disaggregation/connector.ts";
import { CONNECTOR_DEFAULTS } from "../../../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { createMooncake } from "../../../../../src/agents/relay/disaggregation/connectors/mooncake.ts";

const connector = createMooncake(CONNECTOR_DEFAULTS);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function split(more: Partial<Pairing>) {
  const pairing = {
    prefiller: "10.0.0.1:8000",
    decoder: "10.0.0.2:8000",
    transferId: "a",
    ...more,
  };
  return connector.handOff({ api: "chat", body: Buffer.from("{}") }, pairing);
}

describe("mooncake", () => {
  it("asks the bootstrap server of the prefiller's host", () => {
    expect(connector.bootstrap).toMatchObject({ port: 8998, path: "/query" });
  });

  it("gives the decoder the engine of the rank that prefills", () => {
    const bootstrap = { 0: { engine_id: "e0", worker: 1 }, 1: { engine_id: "e1" } };
    expect(connector.bootstrap!.isUsable(bootstrap)).toBe(true);
    const seen = new Set<string>();
    for (let index = 0; index < 50; index++) {
      const handOff = split({ bootstrap, transferId: String(index) })!;
      const rank = handOff.prefill.headers["x-data-parallel-rank"]!;
      seen.add(rank);
      expect(text(handOff.decode(undefined).body)).toContain(`"remote_engine_id":"e${rank}"`);
    }
    expect([...seen].toSorted()).toEqual(["0", "1"]);
    const wanted = split({ bootstrap, prefillRank: { rank: 1, count: 2 } })!;
    expect(wanted.prefill.headers).toEqual({ "x-data-parallel-rank": "1" });
  });

  it.for([
    undefined,
    null,
    [],
    {},
    { 0: {} },
    { 0: { engine_id: 1 } },
    { "0\r\nx": { engine_id: "e" } },
  ])("does not split where the bootstrap server says %j", (bootstrap) => {
    expect(connector.bootstrap!.isUsable(bootstrap)).toBe(false);
    expect(split({ bootstrap })).toBeUndefined();
  });

  it("brackets an IPv6 host in the address", () => {
    const handOff = split({ bootstrap: { 0: { engine_id: "e" } }, prefiller: "[fd00::1]:8000" })!;
    expect(text(handOff.decode(undefined).body)).toContain(
      '"remote_bootstrap_addr":"http://[fd00::1]:8998"',
    );
  });
});
