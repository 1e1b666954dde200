// A body's bytes to a checked JSON object, with the places of its top-level members.

import { type JsonSpans, scanTopLevel } from "../../agents/protocol/json-spans.ts";
import { type Checked, refuse } from "./errors.ts";
import { findJsonFault } from "./json-fault.ts";

/** Objects and arrays inside one another, the body included. Tool schemas rarely pass ten. */
export const JSON_DEPTH_MAX = 64;
/** Top-level members; the engines know about seventy. */
export const JSON_KEYS_MAX = 256;
/** Of a client's own field names, how much a message repeats. */
const NAME_CHARS_MAX = 64;

export interface JsonBody {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly scan: JsonSpans;
  /** An object; JSON.parse made it. */
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * Accepts what every reader behind us reads alike: UTF-8, one JSON object, no top-level key twice
 * (engines take the last one, others the first), not too deep, no lone surrogates (they have no
 * UTF-8 form, so an engine's tokenizer fails on them).
 */
export function parseJsonBody(bytes: Uint8Array<ArrayBuffer>): Checked<JsonBody> {
  const text = decodeUtf8(bytes);
  if (text === undefined) return refuse("invalid_json", "The body is not valid UTF-8.");
  const scan = scanTopLevel(bytes, { depthMax: JSON_DEPTH_MAX, keysMax: JSON_KEYS_MAX });
  if (!scan.ok) {
    const { code, key } = scan.error;
    switch (code) {
      case "duplicate-key": {
        const name = key.slice(0, NAME_CHARS_MAX);
        return refuse("duplicate_parameter", `\`${name}\` is given twice. Send it once.`, name);
      }
      case "too-deep":
        return refuse(
          "invalid_json",
          `The body is nested too deeply: at most ${JSON_DEPTH_MAX} levels.`,
        );
      case "too-many-keys":
        return refuse("invalid_json", `The body has more than ${JSON_KEYS_MAX} members.`);
      case "key-too-long":
        return refuse("invalid_json", "A name of the body's members is too long.");
      case "not-an-object":
      case "malformed":
        return malformed(text);
    }
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The scanner is laxer than JSON: numbers, literals and commas inside values are its gaps.
    return malformed(text);
  }
  const at = hasSurrogateEscape(text) ? findLoneSurrogate(value, "") : undefined;
  if (at !== undefined) {
    return refuse(
      "invalid_value",
      `\`${at}\` holds a lone UTF-16 surrogate, which is not a character.`,
      at,
    );
  }
  return { ok: true, value: { bytes, scan, value: value as Record<string, unknown> } };
}

function malformed(text: string): ReturnType<typeof refuse> {
  if (text.trim() === "") return refuse("invalid_json", "The body is empty: send a JSON object.");
  const fault = findJsonFault(text);
  if (fault === undefined) return refuse("invalid_json", "The body must be a JSON object.");
  return refuse(
    "invalid_json",
    `The body is not valid JSON: line ${fault.line}, column ${fault.column}.`,
  );
}

/** Has no state between two whole texts. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    // Fatal decoding throws a TypeError for bytes that are not UTF-8.
    return undefined;
  }
}

/** UTF-8 cannot carry a surrogate, so only an escape can bring one. */
function hasSurrogateEscape(text: string): boolean {
  // Most texts have no escape of this kind at all, and to find that out takes a tenth of the time at most.
  return text.includes("\\u") && /\\u[dD][89a-fA-F]/.test(text);
}

/** Path of the first string, value or key, that is not well formed. Depth is bounded by the scan. */
function findLoneSurrogate(value: unknown, path: string): string | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : path;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, child] of Object.entries(value)) {
    if (!key.isWellFormed()) return path === "" ? "body" : path;
    const found = findLoneSurrogate(child, childPath(value, key, path));
    if (found !== undefined) return found;
  }
  return undefined;
}

function childPath(parent: object, key: string, path: string): string {
  if (Array.isArray(parent)) return `${path}[${key}]`;
  const name = key.slice(0, NAME_CHARS_MAX);
  return path === "" ? name : `${path}.${name}`;
}
