// A watch's body: one JSON text a line, in chunks that end anywhere.

const NEWLINE = 0x0a;

export class OversizedLineError extends Error {
  override readonly name = "OversizedLineError";
}

/**
 * Gives each complete line; what follows the last newline is the beginning of an event that was cut off,
 * and is left out. Throws OversizedLineError at one of more than `bytesMax`:
 * nothing longer is ever held.
 */
export async function* readLines(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
): AsyncGenerator<string> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of body) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start);
      const part = chunk.subarray(start, end < 0 ? chunk.byteLength : end);
      heldBytes += part.byteLength;
      if (heldBytes > bytesMax)
        throw new OversizedLineError(`a line of more than ${bytesMax} bytes`);
      held.push(part);
      if (end < 0) break;
      // Joined before it is decoded: a character may be cut in two.
      const line = Buffer.concat(held).toString("utf8");
      held = [];
      heldBytes = 0;
      start = end + 1;
      if (line.trim() !== "") yield line;
    }
  }
}
