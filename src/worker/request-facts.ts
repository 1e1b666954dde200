// What a client's headers tell the scheduler: those that the pool's configuration names, and how fast
// the client wants the answer. Everything is bounded, and what does not fit is left out.

import { isRequestHeaderTold } from "../scheduler/header-names.ts";
import {
  type InferenceRequest,
  REQUEST_FACTS_LIMITS,
} from "../scheduler/model/inference-request.ts";

/** Names a single cookie: `cookie:session`. The others stay here. */
const COOKIE_PREFIX = "cookie:";

/** A header and its alias; the first that is there counts. Aliases are llm-d's older names. */
const TTFT_SLO_HEADERS = ["x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"] as const;
const TPOT_SLO_HEADERS = ["x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"] as const;
/** A day. */
const SLO_MS_MAX = 86_400_000;

type RequestFacts = Pick<InferenceRequest, "headers" | "ttftSloMs" | "tpotSloMs">;

/** `wanted`: the pool's, in lower case; see PoolNeeds. */
export function readRequestFacts(
  headers: Pick<Headers, "get">,
  wanted: readonly string[],
): RequestFacts {
  const found = readHeaders(headers, wanted);
  const ttftSloMs = readSlo(headers, TTFT_SLO_HEADERS);
  const tpotSloMs = readSlo(headers, TPOT_SLO_HEADERS);
  return {
    ...(found === undefined ? {} : { headers: found }),
    ...(ttftSloMs === undefined ? {} : { ttftSloMs }),
    ...(tpotSloMs === undefined ? {} : { tpotSloMs }),
  };
}

function readHeaders(
  headers: Pick<Headers, "get">,
  wanted: readonly string[],
): Record<string, string> | undefined {
  const found: [string, string][] = [];
  for (const name of wanted) {
    if (found.length >= REQUEST_FACTS_LIMITS.headersMax) break;
    const value = readHeader(headers, name);
    if (value === undefined || value === "") continue;
    if (new TextEncoder().encode(value).byteLength > REQUEST_FACTS_LIMITS.headerValueBytesMax)
      continue;
    found.push([name, value]);
  }
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

function readHeader(headers: Pick<Headers, "get">, name: string): string | undefined {
  if (name.startsWith(COOKIE_PREFIX)) {
    return readCookie(headers.get("cookie") ?? "", name.slice(COOKIE_PREFIX.length));
  }
  // Whatever a configuration names: secrets, and what only a trusted hop may say, are not told.
  if (!isRequestHeaderTold(name)) return undefined;
  return headers.get(name) ?? undefined;
}

/** Names of cookies keep their case. Of two with one name the first counts. */
function readCookie(cookies: string, name: string): string | undefined {
  for (const pair of cookies.split(";")) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim().toLowerCase() === name.toLowerCase()) {
      return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}

/** A positive number of milliseconds; anything else counts as none. */
function readSlo(
  headers: Pick<Headers, "get">,
  names: readonly [string, string],
): number | undefined {
  const text = headers.get(names[0]) ?? headers.get(names[1]);
  const ms = text === null || text.trim() === "" ? Number.NaN : Number(text);
  return ms > 0 && ms <= SLO_MS_MAX ? ms : undefined;
}
