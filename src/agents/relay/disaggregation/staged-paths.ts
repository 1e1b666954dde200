import type { StagedApi } from "./connector.ts";

const APIS: ReadonlyMap<string, StagedApi> = new Map([
  ["/v1/chat/completions", "chat"],
  ["/v1/completions", "completions"],
  ["/v1/messages", "messages"],
  ["/v1/responses", "responses"],
  ["/inference/v1/generate", "generate"],
]);

/** The API of a path, which may have a query; undefined for one that nothing is split on. */
export function apiOf(path: string): StagedApi | undefined {
  return APIS.get(path.split("?", 1)[0]!);
}
