// Who takes part in a request besides its destinations, as its stage headers say.
//
// Every address is compared by host AND port with the endpoints discovered here; what is not one of
// them is never connected to. llm-d's sidecar checks the host only, and only if it is told to.

import { PROTOCOL_LIMITS } from "../../protocol/limits.ts";

/** Stages as metric labels, in the order of STAGE_HEADERS. */
type StageName = "prefill" | "encode" | "data-parallel" | "kv-source";

export interface StageAddresses {
  /** In order of preference. */
  readonly prefillers: readonly string[];
  readonly encoders: readonly string[];
  /** The rank of the first destination that is to decode. */
  readonly dataParallel: string | undefined;
  /** Holds blocks of the prompt that others may copy. */
  readonly kvSource: string | undefined;
  /** Stages of addresses that were left out, once an address. */
  readonly unknown: readonly StageName[];
}

/**
 * `values` are those of STAGE_HEADERS, "" where absent; undefined if one lists more than it may. `isKnown` is
 * whether an address is an endpoint that this relay discovered.
 */
export function parseStages(
  values: readonly string[],
  isKnown: (address: string) => boolean,
): StageAddresses | undefined {
  const [prefill = "", encode = "", dataParallel = "", kvSource = ""] = values;
  const unknown: StageName[] = [];
  const known = (stage: StageName, text: string) => {
    if (text === "") return NOBODY;
    const listed = [...new Set(split(text))];
    const found = listed.filter((address) => isKnown(address));
    for (let i = found.length; i < listed.length; i++) unknown.push(stage);
    return found;
  };
  const { destinationsMax, encodersMax } = PROTOCOL_LIMITS;
  if (split(prefill).length > destinationsMax || split(encode).length > encodersMax) {
    return undefined;
  }
  if (split(dataParallel).length > 1 || split(kvSource).length > 1) return undefined;
  return {
    prefillers: known("prefill", prefill),
    encoders: known("encode", encode),
    dataParallel: known("data-parallel", dataParallel)[0],
    kvSource: known("kv-source", kvSource)[0],
    unknown,
  };
}

const NOBODY: readonly string[] = [];

/** The addresses of a list. A scheme is dropped: which endpoints speak TLS is not the header's to say. */
function split(list: string): readonly string[] {
  // Nearly always.
  if (list === "") return NOBODY;
  return list
    .split(",")
    .map((entry) =>
      entry
        .trim()
        .toLowerCase()
        .replace(/^http:\/\//, ""),
    )
    .filter((entry) => entry !== "");
}
