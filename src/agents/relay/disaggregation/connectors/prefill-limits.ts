// What makes an engine stop after the prompt: one token, in one piece. Each API has its own names for it.
//
// Source: llm-d-router pkg/sidecar/proxy (tokenLimitFieldsForAPIType) and pkg/common/request (tokens.go).

import type { StagedApi, StagedRequest } from "../connector.ts";
import { readMember, type MemberEdits } from "./json-edits.ts";

const IN_ONE_PIECE = { stream: "false", stream_options: undefined } as const;

/** Every limit is set, whether or not the client sent it: as nixlv2 does. */
export function oneTokenEdits(api: StagedApi): MemberEdits {
  switch (api) {
    case "chat":
    case "completions":
    case "messages":
      return { ...IN_ONE_PIECE, max_tokens: "1", max_completion_tokens: "1", min_tokens: "1" };
    case "responses":
      return { ...IN_ONE_PIECE, max_output_tokens: "1" };
    case "generate":
      return { ...IN_ONE_PIECE, sampling_params: { max_tokens: "1", min_tokens: "1" } };
  }
}

/**
 * Only what the API needs, as the other connectors do. The least number of tokens goes: an engine refuses
 * one above the most. llm-d leaves it, and sets `max_tokens` where an API has another name, too.
 */
export function shortPrefillEdits({ api, body }: StagedRequest): MemberEdits {
  switch (api) {
    case "chat":
    case "completions":
    case "messages": {
      const isNamed = readMember(body, "max_completion_tokens") !== undefined;
      const completion = isNamed ? { max_completion_tokens: "1" } : {};
      return { ...IN_ONE_PIECE, max_tokens: "1", ...completion, min_tokens: undefined };
    }
    case "responses":
      return { ...IN_ONE_PIECE, max_output_tokens: "1" };
    case "generate":
      return { ...IN_ONE_PIECE, sampling_params: { max_tokens: "1", min_tokens: undefined } };
  }
}
