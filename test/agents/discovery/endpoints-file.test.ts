import { describe, expect, it } from "vitest";
import { MISTAKES_MAX, parseEndpoints } from "../../../src/agents/discovery/endpoints-file.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";

function mistakesOf(text: string): readonly string[] {
  const parsed = parseEndpoints(text);
  return parsed.ok ? [] : parsed.mistakes;
}
const list = (entries: readonly object[]) => JSON.stringify({ endpoints: entries });

describe("parseEndpoints", () => {
  it("reads llm-d's format and fills in its defaults", () => {
    const text = `
endpoints:
  - name: vllm-0
    address: 10.0.0.7
  - name: sgl-0
    namespace: llm
    address: sgl-0.example.internal
    port: "30000"
    labels:
      llm-d.ai/engine-type: sglang
      zone: a
  - name: v6
    address: fd00::7
    port: 8001
    labels: { inference.networking.k8s.io/engine-type: trtllm-serve }
`;
    expect(parseEndpoints(text)).toEqual({
      ok: true,
      endpoints: [
        { id: "default/vllm-0", address: "10.0.0.7:8000", engine: "vllm", labels: {} },
        {
          id: "llm/sgl-0",
          address: "sgl-0.example.internal:30000",
          engine: "sglang",
          labels: { "llm-d.ai/engine-type": "sglang", zone: "a" },
        },
        {
          id: "default/v6",
          address: "[fd00::7]:8001",
          engine: "trtllm-serve",
          labels: { "inference.networking.k8s.io/engine-type": "trtllm-serve" },
        },
      ],
    });
  });

  it("reads JSON and an empty list", () => {
    expect(parseEndpoints('{"endpoints":[]}')).toEqual({ ok: true, endpoints: [] });
  });

  it("reports every mistake with its place", () => {
    const mistakes = mistakesOf(
      list([
        { name: "a", address: "http://10.0.0.1:80" },
        { address: "10.0.0.2" },
        { name: "c", address: "10.0.0.3", port: 70_000, lables: {} },
      ]),
    );
    expect(mistakes).toEqual([
      "endpoints[0].address: expected an IP address or a host name",
      expect.stringMatching(/^endpoints\[1\]\.name: /) as string,
      expect.stringMatching(/^endpoints\[2\]\.port: /) as string,
      expect.stringMatching(/^endpoints\[2\]: .*lables/) as string,
    ]);
  });

  it.for([
    { name: "no list", text: "{}", mistake: /endpoints/ },
    { name: "an empty file", text: "", mistake: /the file/ },
    { name: "broken YAML", text: "endpoints: [", mistake: /./ },
    { name: "a key that stands twice", text: "endpoints: []\nendpoints: []", mistake: /unique/ },
    {
      name: "one id twice",
      text: list([
        { name: "a", address: "10.0.0.1" },
        { name: "a", address: "10.0.0.2" },
      ]),
      mistake: /^endpoints\[1\]: default\/a is also endpoints\[0\]$/,
    },
    {
      name: "one address twice, whatever its case",
      text: list([
        { name: "a", address: "Engine" },
        { name: "b", address: "engine", port: "8000" },
      ]),
      mistake: /^endpoints\[1\]: engine:8000 is also the address of endpoints\[0\]$/,
    },
  ])("refuses $name", ({ text, mistake }) => {
    expect(mistakesOf(text)).toEqual([expect.stringMatching(mistake) as string]);
  });

  it("takes an engine that only the pool's specification knows, and keeps its label", () => {
    const labels = { "llm-d.ai/engine-type": "triton" };
    expect(parseEndpoints(list([{ name: "a", address: "h", labels }]))).toEqual({
      ok: true,
      endpoints: [{ id: "default/a", address: "h:8000", engine: "vllm", labels }],
    });
  });

  it("takes as many endpoints as a pool may have, and no more", () => {
    const entries = (count: number) =>
      list(Array.from({ length: count }, (_, i) => ({ name: `e${i}`, address: `h${i}` })));
    expect(parseEndpoints(entries(PROTOCOL_LIMITS.endpointsMax)).ok).toBe(true);
    expect(mistakesOf(entries(PROTOCOL_LIMITS.endpointsMax + 1))).toHaveLength(1);
  });

  it("refuses labels that would not fit a frame, however small the file", () => {
    const labels = Array.from({ length: 64 }, (_, i) => `l${i}: ${"x".repeat(250)}`).join(", ");
    const entries = Array.from(
      { length: 80 },
      (_, i) => `- {name: e${i}, address: h${i}, labels: *l}`,
    );
    const text = `endpoints:\n- {name: e, address: h, labels: &l {${labels}}}\n${entries.join("\n")}`;
    expect(mistakesOf(text)).toEqual([expect.stringMatching(/together exceed/) as string]);
  });

  it("survives an alias bomb", () => {
    const levels = Array.from(
      { length: 10 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(",")}]`,
    );
    expect(mistakesOf(`a0: &a0 x\n${levels.join("\n")}`)).toHaveLength(1);
  });

  it("shows a bounded number of mistakes", () => {
    const mistakes = mistakesOf(
      list(Array.from({ length: MISTAKES_MAX + 5 }, () => ({ name: "a" }))),
    );
    expect(mistakes).toHaveLength(MISTAKES_MAX + 1);
    expect(mistakes.at(-1)).toBe("and 5 more");
  });
});
