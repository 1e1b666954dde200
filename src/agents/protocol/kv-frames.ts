// KV frames: what endpoints hold from now on, in content keys. All numbers little-endian, u32 unless said.
//
//   payload   section | section | …                                     of one endpoint each, to the end
//   section   stream │ seq │ flags │ onGpu │ below │ gone │ keys          six words, then two a key
//   keys      onGpu keys, then those held below GPUs only, then those no longer held
//   ends      with the flag `ends`: a u16 for each key that is held, in their order, filled up to a word
//
// An end says how many tokens a prompt's content became up to and with this key's block, in units of
// KV_TOKEN_UNIT; see KV_END_EVEN, KV_END_OF_HIT and KV_END_UNKNOWN. Only for an object that said `kvTokenEnds`.
//
// A stream is one account of one endpoint, as the object asked for it (`kv-send`); its sections are
// numbered from 0. The first has the flag `begins`: what it and the next ones say is complete with the
// one that has `completes`, and only then replaces what was known before. A key says what is so from now
// on, whatever was said of it before, and comes at most once in a section.

import type { Decoded, FramePlace } from "./codec.ts";
import { encodeFrame, FRAME } from "./codec.ts";
import { PROTOCOL_LIMITS } from "./limits.ts";

const BEGINS = 1;
const COMPLETES = 2;
const ENDS = 4;
const HEAD_WORDS = 6;
const HEAD_BYTES = HEAD_WORDS * 4;
/** Tokens of one unit of an end: no engine that we know has blocks of fewer, but for pages of one. */
export const KV_TOKEN_UNIT = 8;
/** The end of content that is not known, or lies past half a million tokens. As END_UNKNOWN of the index. */
export const KV_END_UNKNOWN = 0xffff;
/** The key is one of tokens, and not of content: a request has one for every CONTENT_BLOCK_TOKENS of them. */
export const KV_END_EVEN = 0xfffe;
/** The key is of no content: it says that a hit can end with some. As END_OF_HIT of the index. */
export const KV_END_OF_HIT = 0xfffd;
const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** What one endpoint's account says next. */
export interface KvSection {
  readonly stream: number;
  readonly seq: number;
  /** It says everything anew, from here on. */
  readonly begins: boolean;
  /** All has been said that was held when it began. */
  readonly completes: boolean;
  /** Two words a key: those on GPUs, then those below, then those that are gone. */
  readonly keys: Uint32Array;
  readonly onGpuCount: number;
  readonly belowCount: number;
  /** By key that is held: see above. Absent where nobody asked for it. */
  readonly ends?: Uint16Array;
}

/** Encodes one KV frame. Sections have at most limits.kvFrameKeysMax keys together. */
export function encodeKv(
  place: FramePlace,
  sections: readonly KvSection[],
): Uint8Array<ArrayBuffer> {
  let words = 0;
  for (const section of sections) words += HEAD_WORDS + section.keys.length + endWords(section);
  const payload = new Uint8Array(words * 4);
  const view = new DataView(payload.buffer);
  let at = 0;
  const write = (word: number) => {
    view.setUint32(at, word, true);
    at += 4;
  };
  for (const section of sections) {
    const { stream, seq, keys, onGpuCount, belowCount, ends } = section;
    write(stream);
    write(seq);
    write(flagsOf(section));
    write(onGpuCount);
    write(belowCount);
    write(keys.length / 2 - onGpuCount - belowCount);
    for (let i = 0; i < keys.length; i++) write(keys[i]!);
    if (ends === undefined) continue;
    for (let i = 0; i < ends.length; i++) view.setUint16(at + i * 2, ends[i]!, true);
    at += endWords(section) * 4;
  }
  return encodeFrame({ type: FRAME.kv, ...place }, payload);
}

/** Decodes the payload of a KV frame. Keys may be views of it. Every count is checked before it is used. */
export function decodeKv(payload: Uint8Array): Decoded<KvSection[]> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const sections: KvSection[] = [];
  let keysLeft: number = PROTOCOL_LIMITS.kvFrameKeysMax;
  let at = 0;
  while (at < payload.byteLength) {
    if (at + HEAD_BYTES > payload.byteLength) return { ok: false, error: "too-short" };
    const word = (index: number) => view.getUint32(at + index * 4, true);
    const flags = word(2);
    const [onGpuCount, belowCount, goneCount] = [word(3), word(4), word(5)];
    const count = onGpuCount + belowCount + goneCount;
    keysLeft -= count;
    if (flags > (BEGINS | COMPLETES | ENDS) || keysLeft < 0)
      return { ok: false, error: "bad-payload" };
    const endCount = (flags & ENDS) === 0 ? 0 : onGpuCount + belowCount;
    const bytes = HEAD_BYTES + count * 8 + wordsOf(endCount) * 4;
    if (sections.length === PROTOCOL_LIMITS.endpointsMax)
      return { ok: false, error: "bad-payload" };
    if (at + bytes > payload.byteLength) return { ok: false, error: "too-short" };
    sections.push({
      stream: word(0),
      seq: word(1),
      begins: (flags & BEGINS) !== 0,
      completes: (flags & COMPLETES) !== 0,
      keys: readWords(view, at + HEAD_BYTES, count * 2),
      onGpuCount,
      belowCount,
      ...((flags & ENDS) === 0
        ? {}
        : { ends: readHalfWords(view, at + HEAD_BYTES + count * 8, endCount) }),
    });
    at += bytes;
  }
  return { ok: true, value: sections };
}

/** A view where the bytes lie as the machine wants them, as those of a whole frame do. */
function readWords(view: DataView, from: number, count: number): Uint32Array {
  const offset = view.byteOffset + from;
  if (IS_LITTLE_ENDIAN && offset % 4 === 0) return new Uint32Array(view.buffer, offset, count);
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(from + i * 4, true));
}

function readHalfWords(view: DataView, from: number, count: number): Uint16Array {
  const offset = view.byteOffset + from;
  if (IS_LITTLE_ENDIAN && offset % 2 === 0) return new Uint16Array(view.buffer, offset, count);
  return Uint16Array.from({ length: count }, (_, i) => view.getUint16(from + i * 2, true));
}

function flagsOf({ begins, completes, ends }: KvSection): number {
  return (begins ? BEGINS : 0) | (completes ? COMPLETES : 0) | (ends === undefined ? 0 : ENDS);
}

function endWords({ ends }: Pick<KvSection, "ends">): number {
  return wordsOf(ends?.length ?? 0);
}

function wordsOf(halfWords: number): number {
  return (halfWords + 1) >>> 1;
}
