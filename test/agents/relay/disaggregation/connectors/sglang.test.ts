import { describe, expect, it } from "vitest";
import type { Pairing } from "../../../../../src/agents/relay/disaggregation/connector.ts";
import { CONNECTOR_DEFAULTS } from "../../../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { createSglang } from "../../../../../src/agents/relay/disaggregation/connectors/sglang.ts";

const BODY = Buffer.from('{"text":"x"}');
const connector = createSglang(CONNECTOR_DEFAULTS);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function pair(transferId: string, more: Partial<Pairing> = {}) {
  const pairing = { prefiller: "10.0.0.1:8000", decoder: "10.0.0.2:8000", transferId, ...more };
  return connector.handOff({ api: "chat", body: BODY }, pairing)!;
}

function room(transferId: string, more: Partial<Pairing> = {}): number {
  const { body } = pair(transferId, more).prefill;
  return (JSON.parse(text(body)) as { bootstrap_room: number }).bootstrap_room;
}

describe("sglang", () => {
  it("sends both engines to the same room", () => {
    const split = pair("a");
    expect(split.decode(undefined)).toEqual({ ...split.prefill, isHandedOver: true });
    expect(room("a")).toBe(room("a"));
    expect(room("a")).not.toBe(room("b"));
  });

  it("spreads rooms over what every reader of JSON keeps whole", () => {
    const rooms = Array.from({ length: 2_000 }, (_, index) => room(String(index)));
    // A batch of prompts takes the rooms that follow.
    expect(Math.max(...rooms)).toBeLessThan(2 ** 53 - 2 ** 20);
    expect(new Set(rooms).size).toBe(rooms.length);
    for (let eighth = 0; eighth < 8; eighth++) {
      const inside = rooms.filter((one) => Math.floor(one / 2 ** 50) === eighth);
      expect(inside.length).toBeGreaterThan(150);
    }
  });

  it("chooses the prefiller's rank by the room", () => {
    for (const count of [1, 3, 8]) {
      for (let rank = 0; rank < count; rank++) {
        const chosen = room(`t-${rank}`, { prefillRank: { rank, count } });
        expect(chosen % count).toBe(rank);
        expect(chosen).toBeLessThan(2 ** 53 - 2 ** 20);
      }
    }
  });

  it("names an IPv6 host without brackets, as SGLang reads it", () => {
    const { body } = pair("a", { prefiller: "[fd00::1]:8000" }).prefill;
    expect(text(body)).toContain('"bootstrap_host":"fd00::1"');
  });

  it("replaces what a request brought", () => {
    const body = Buffer.from('{"bootstrap_room":1,"bootstrap_host":"evil"}');
    const pairing = { prefiller: "10.0.0.1:8000", decoder: "10.0.0.2:8000", transferId: "a" };
    const { prefill } = connector.handOff({ api: "chat", body }, pairing)!;
    expect(text(prefill.body)).toBe(
      `{"bootstrap_port":8998,"bootstrap_room":${room("a")},"bootstrap_host":"10.0.0.1"}`,
    );
  });
});
