// What an encode engine answers: where each picture's embedding can be had.
//
// Source: vLLM's ECConnector, whose descriptors are keyed by the hash of an item. Embeddings themselves are
// not simulated, so that nobody reads them: whoever gets a descriptor takes its word.

import type { PromptItem } from "../model/prompt.ts";

/** A float16 embedding of a common vision tower's width. */
const BYTES_PER_PLACEHOLDER = 8_192;

/** Nothing for a request without items. */
export function encoderParams(
  items: readonly PromptItem[],
  place: { readonly host: string; readonly port: number },
): object {
  if (items.length === 0) return {};
  const params = Object.fromEntries(
    items.map(({ identifier, length }) => [
      identifier,
      {
        peer_host: place.host,
        peer_port: place.port,
        size_bytes: length * BYTES_PER_PLACEHOLDER,
      },
    ]),
  );
  return { ec_transfer_params: params };
}
