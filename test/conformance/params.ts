// Parameters with which the conformance suites make each plugin: the defaults, where it has some, and
// those variants that run other code.

import type { PluginKind } from "../../src/scheduler/plugin.ts";
import { pluginsOfKind } from "../../src/scheduler/registry.ts";

const EXAMPLES: Readonly<Record<string, readonly object[]>> = {
  "active-request-scorer": [{}, { idleThreshold: 3, maxBusyScore: 0.5 }],
  "prefix-cache-scorer": [{}, { matchLengthWeight: 0.5, matchLengthScaleTokens: 512 }],
};

export interface Example {
  /** Type, and the parameters where they are not the defaults. */
  readonly name: string;
  readonly type: string;
  readonly params: object;
}

export function examplesOf(kind: PluginKind): Example[] {
  return pluginsOfKind(kind).flatMap(({ type }) =>
    (EXAMPLES[type] ?? [{}]).map((params) => {
      const text = JSON.stringify(params);
      return { name: text === "{}" ? type : `${type} ${text}`, type, params };
    }),
  );
}
