// Whatever a client writes, both legs of every connector have it byte for byte, but for the members that
// the connector sets.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CONNECTOR_NAMES,
  type StagedApi,
} from "../../../src/agents/relay/disaggregation/connector.ts";
import { readMembers } from "../../../src/agents/relay/disaggregation/connectors/json-edits.ts";
import { CONNECTOR_DEFAULTS } from "../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { createConnector } from "../../../src/agents/relay/disaggregation/connectors/registry.ts";

const PAIRING = {
  prefiller: "10.0.0.1:8000",
  decoder: "10.0.0.2:8000",
  transferId: "a",
  bootstrap: { 0: { engine_id: "e" } },
};
const HANDED = [
  "kv_transfer_params",
  "cache_hit_threshold",
  "bootstrap_host",
  "bootstrap_port",
  "bootstrap_room",
];
const LIMITS = ["max_tokens", "max_completion_tokens", "min_tokens", "max_output_tokens"];
const PREFILL = new Set([...HANDED, ...LIMITS, "stream", "stream_options", "sampling_params"]);
const DECODE = new Set(HANDED);

const raw = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)),
  fc.bigInt().map(String),
  fc.constantFrom("1.0", "-0", "1E+400", String.raw`"\u00fc\ud83d"`, '[ 1 ,{ "}" : "]" } ]'),
);
const key = fc.oneof(
  fc.string(),
  fc.constantFrom(...PREFILL, "__proto__", "ü🗝", "messages", "prompt", '\\"'),
);
const space = fc.constantFrom("", " ", "\n", "\t ");
const body = fc
  .tuple(fc.uniqueArray(fc.tuple(key, raw), { selector: ([name]) => name, maxLength: 8 }), space)
  .map(([members, gap]) => {
    const texts = members.map(([name, value]) => `${JSON.stringify(name)}${gap}:${gap}${value}`);
    return `{${gap}${texts.join(`${gap},${gap}`)}${gap}}`;
  });
const api = fc.constantFrom<StagedApi>("chat", "completions", "messages", "responses", "generate");

/** Members and their bytes, but for those of `but`. */
function members(bytes: Uint8Array, but: ReadonlySet<string>): [string, string][] {
  return [...readMembers(bytes)!]
    .filter(([name]) => !but.has(name))
    .map(([name, value]) => [name, Buffer.from(value).toString()]);
}

describe.for(CONNECTOR_NAMES)("%s", (name) => {
  const connector = createConnector(name, CONNECTOR_DEFAULTS);

  it("leaves the bytes of every member that it does not set, in their order", () => {
    fc.assert(
      fc.property(body, api, (text, of) => {
        const bytes = Buffer.from(text);
        const handOff = connector.handOff({ api: of, body: bytes }, PAIRING)!;
        const params = Buffer.from('{"kv_transfer_params":{"x":1}}');
        const { prefill } = handOff;
        const decode = handOff.decode(connector.order === "sequential" ? params : undefined);
        expect(members(prefill.body, PREFILL)).toEqual(members(bytes, PREFILL));
        expect(members(decode.body, DECODE)).toEqual(members(bytes, DECODE));
        // Both are whole JSON: what was cut and put in left no separator behind.
        for (const leg of [prefill.body, decode.body]) JSON.parse(Buffer.from(leg).toString());
      }),
    );
  });
});
