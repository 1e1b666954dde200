// A model's name as the value of a header: percent-encoded, because names may hold any character and
// header values may not.

/** Characters of a name, as the edge allows them; each takes nine at most when encoded. */
const MODEL_NAME_CHARS_MAX = 256;
export const ENCODED_MODEL_NAME_CHARS_MAX = 9 * MODEL_NAME_CHARS_MAX;

/** `name` is well-formed UTF-16, as every name that came out of a checked body. */
export function encodeModelName(name: string): string {
  return encodeURIComponent(name);
}

/** Undefined for what `encodeModelName` does not write. */
export function decodeModelName(header: string): string | undefined {
  if (header === "" || header.length > ENCODED_MODEL_NAME_CHARS_MAX) return undefined;
  try {
    return decodeURIComponent(header);
  } catch {
    // A stray % sign, or bytes that are not UTF-8.
    return undefined;
  }
}
