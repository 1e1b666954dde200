import { describe, expect, it } from "vitest";
import { INTERNAL_HEADER_PREFIXES } from "../../src/agents/protocol/headers.ts";
import { formatPath } from "../../src/config/deployment.ts";
import { loadSchedulerConfig } from "../../src/scheduler/config/load.ts";
import {
  HEADER_NAME_CHARS_MAX,
  INTERNAL_PREFIXES,
  isAnswerHeaderSet,
  isRequestHeaderTold,
} from "../../src/scheduler/header-names.ts";
import { REQUEST_FACTS_LIMITS } from "../../src/scheduler/model/inference-request.ts";

function load(plugins: readonly object[]) {
  const { issues, notes } = loadSchedulerConfig({ plugins }, { allowExperimentalPlugins: true });
  const told = (found: typeof notes) =>
    found.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  return { issues: told(issues), notes: told(notes) };
}

/** Every parameter that names a header, and where. */
const PARAMETERS: readonly [string, string, (name: string) => object][] = [
  [
    "session-affinity-scorer",
    "encodedEndpointHeaderConfig.header",
    (header) => ({ encodedEndpointHeaderConfig: { header } }),
  ],
  [
    "session-affinity-filter",
    "sessionIdConfig.sources[0].header",
    (header) => ({ strategy: "session_id", sessionIdConfig: { sources: [{ header }] } }),
  ],
  ["session-id-producer", "headerName", (headerName) => ({ headerName })],
  ["header-profile-handler", "headerName", (headerName) => ({ headerName })],
  [
    "agent-identity",
    "additionalSessionHeaders[0]",
    (name) => ({ additionalSessionHeaders: [name] }),
  ],
  ["header-label-affinity-scorer", "headerName", (headerName) => ({ headerName, labelKey: "x" })],
  [
    "disaggregatedset-rollout-screener",
    "headerSelectors[0].headerName",
    (headerName) => ({
      scope: { labelSelector: "a=b" },
      revisionGating: { mode: "disabled" },
      headerSelectors: [{ name: "n", headerName, labelKey: "x", mode: "strict" }],
    }),
  ],
];

describe.for(PARAMETERS)("%s: %s", ([type, where, parametersOf]) => {
  it.for(["a b", "a\nb", "a:b", "ü", "a/b", "x".repeat(HEADER_NAME_CHARS_MAX + 1)])(
    "refuses %j",
    (name) => {
      const { issues } = load([{ type, parameters: parametersOf(name) }]);
      expect(issues).toEqual([expect.stringContaining(`plugins[0].parameters.${where}: expected`)]);
      expect(issues.join()).not.toContain(name);
    },
  );

  it("takes names in any case, which a platform takes", () => {
    expect(load([{ type, parameters: parametersOf(" X-Some_Name.1 ") }]).issues).toEqual([]);
  });

  it.for(["authorization", "Cookie", "x-fairlead-tenant"])(
    "notes that %s is never told",
    (name) => {
      const { issues, notes } = load([{ type, parameters: parametersOf(name) }]);
      expect(issues).toEqual([]);
      expect(notes.join("\n")).toContain("a request header that it names is never told");
    },
  );
});

describe("an answer's header", () => {
  const noted = (header: string) =>
    load([
      { type: "session-affinity-scorer", parameters: { encodedEndpointHeaderConfig: { header } } },
    ]).notes.join("\n");

  it("is noted where it is never set", () => {
    expect(noted("my-session")).toContain("an answer header that it names is never set");
    expect(noted("x-llm-d-session")).toContain("an answer header that it names is never set");
    expect(noted("x-my-session")).not.toContain("never set");
  });

  it("is a name of its own", () => {
    const names = ["x-a", "x-request-id", "x-gateway-a", "set-cookie", "x-", `x-${"a".repeat(63)}`];
    expect(names.filter(isAnswerHeaderSet)).toEqual(["x-a"]);
  });
});

describe("request headers", () => {
  it("are told in number up to a bound, past which it is noted", () => {
    const readers = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        type: "header-label-affinity-scorer",
        name: `h${i}`,
        parameters: { headerName: `x-h${i}`, labelKey: "x" },
      }));
    const { headersMax } = REQUEST_FACTS_LIMITS;
    // As many scorers as a profile takes, and one producer.
    const last = { type: "session-id-producer", parameters: { headerName: "x-last" } };
    expect(load(readers(headersMax)).notes).toEqual([]);
    expect(load([...readers(headersMax), last]).notes).toEqual([
      `plugins: plugins name ${headersMax + 1} request headers: of those that a request has, the first ${headersMax} are told`,
    ]);
  });

  it("are withheld by the prefixes that agents and Worker have among them", () => {
    expect(INTERNAL_PREFIXES).toEqual(INTERNAL_HEADER_PREFIXES);
    expect(["x-a", "cookie", "x-gateway-a"].filter(isRequestHeaderTold)).toEqual(["x-a"]);
  });
});
