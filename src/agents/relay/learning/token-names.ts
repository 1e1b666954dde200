// From the names that an engine gives its tokens to the bytes they stand for.
//
//   byte-level    GPT-2's alphabet: a character for each byte, Ġ for a blank     Qwen, Llama 3, DeepSeek
//   metaspace     ▁ for a blank, <0x0A> for a byte without a name                Gemma, Llama 2, Mistral
//   plain         the text itself                                                the simulator
//
// An engine does not say which it is, but nearly every token behind a blank does. A wrong guess shows: the
// prompt's text is not found again.

/** GPT-2's alphabet: a printable character for each byte. */
const BYTE_LETTERS = byteLetters();
const BLANK_LETTER = "Ġ";
const BLANK_MARK = "▁";
/** Names looked at to tell how they are written. */
const SAMPLE_NAMES = 4_096;

export type TokenNaming = "byte-level" | "metaspace" | "plain";

const encoder = new TextEncoder();

/**
 * How a prompt's tokens are named: by which sign stands for blanks in most of them, or as others were where it
 * has no blanks.
 */
export function namingOf(
  names: readonly string[],
  others: TokenNaming = "byte-level",
): TokenNaming {
  let letters = 0;
  let marks = 0;
  let blanks = 0;
  for (const name of names.slice(0, SAMPLE_NAMES)) {
    if (name.startsWith(BLANK_LETTER)) letters++;
    else if (name.startsWith(BLANK_MARK)) marks++;
    else if (name.includes(" ")) blanks++;
  }
  if (letters + marks + blanks === 0) return others;
  if (marks > letters && marks > blanks) return "metaspace";
  return blanks > letters ? "plain" : "byte-level";
}

/** The prompt's text as its tokens have it, and where each of them ends in it. */
export interface NamedText {
  readonly text: Uint8Array;
  readonly tokenEnds: Uint32Array;
}

export function decodeNames(names: readonly string[], naming: TokenNaming): NamedText {
  // A letter beyond Latin stands for itself in added tokens, and takes three bytes at most a unit.
  const text = new Uint8Array(3 * names.reduce((sum, name) => sum + name.length, 0));
  const tokenEnds = new Uint32Array(names.length);
  let end = 0;
  for (const [i, name] of names.entries()) {
    end += writeName(name, naming, text.subarray(end));
    tokenEnds[i] = end;
  }
  return { text: text.slice(0, end), tokenEnds };
}

function writeName(name: string, naming: TokenNaming, out: Uint8Array): number {
  switch (naming) {
    case "plain":
      return encoder.encodeInto(name, out).written;
    case "metaspace": {
      const byte = /^<0x([0-9A-F]{2})>$/u.exec(name);
      if (byte === null) return encoder.encodeInto(name.replaceAll(BLANK_MARK, " "), out).written;
      out[0] = Number.parseInt(byte[1]!, 16);
      return 1;
    }
    case "byte-level":
      return writeLetters(name, out);
  }
}

function writeLetters(name: string, out: Uint8Array): number {
  let at = 0;
  for (const char of name) {
    const byte = BYTE_LETTERS.get(char);
    if (byte === undefined) at += encoder.encodeInto(char, out.subarray(at)).written;
    else out[at++] = byte;
  }
  return at;
}

function byteLetters(): ReadonlyMap<string, number> {
  const letters = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.set(String.fromCodePoint(isPrintable ? byte : next++), byte);
  }
  return letters;
}
