// Looks for quoted keys in JSON that passes by in chunks. A quoted key cannot occur inside a JSON string,
// where its quotes would be escaped, so text that the model wrote is never taken for one.

/** The first byte from `from` on that is no white space; the end itself if there is none. */
export function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.byteLength && isSpace(bytes[at]!)) at++;
  return at;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/** Where a key may begin that goes on beyond the end; the end itself if none does. */
export function beginningOfKey(key: Buffer, bytes: Buffer, from: number): number {
  const { byteLength } = bytes;
  for (let at = Math.max(from, byteLength - key.byteLength + 1); at < byteLength; at++) {
    if (key.subarray(0, byteLength - at).equals(bytes.subarray(at))) return at;
  }
  return byteLength;
}
