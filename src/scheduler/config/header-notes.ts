// Headers that plugins name and that can never work. Names are not shown: they are parameters.

import { INTERNAL_PREFIXES, isAnswerHeaderSet, isRequestHeaderTold } from "../header-names.ts";
import { REQUEST_FACTS_LIMITS } from "../model/inference-request.ts";
import type { Findings } from "./findings.ts";
import type { PluginSet } from "./plugin-set.ts";

const INTERNAL = INTERNAL_PREFIXES.map((prefix) => `${prefix}*`).join(", ");

export function noteHeaders(plugins: PluginSet, findings: Findings): void {
  const read = new Set<string>();
  for (const { index, definition, parameters } of plugins.entries()) {
    if (definition === undefined || parameters === undefined) continue;
    const path = index === undefined ? ["plugins"] : ["plugins", index];
    const names = definition.requestHeaders?.(parameters) ?? [];
    for (const name of names) read.add(name);
    if (!names.every(isRequestHeaderTold))
      findings.note(
        path,
        "a request header that it names is never told to plugins: authorization, " +
          `proxy-authorization, cookie and ${INTERNAL} are not`,
      );
    if (definition.answerHeaders?.(parameters).every(isAnswerHeaderSet) === false)
      findings.note(
        path,
        "an answer header that it names is never set: allowed are x-<name> of at most 64 letters, " +
          `digits and dashes, but for x-request-id and ${INTERNAL}`,
      );
  }
  const { headersMax } = REQUEST_FACTS_LIMITS;
  if (read.size > headersMax)
    findings.note(
      ["plugins"],
      `plugins name ${read.size} request headers: of those that a request has, the first ` +
        `${headersMax} are told`,
    );
}
