// Canonical CBOR, as block hashes are computed over it: shortest integers, definite lengths.

import { eachUtf8Byte } from "./fnv.ts";

/** Takes bytes one by one: a hash, or a buffer. */
export interface ByteSink {
  byte(byte: number): void;
}

const UINT = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const NULL = 0xf6;

/** An unsigned integer of at most 64 bits. */
export function writeUint(sink: ByteSink, value: bigint): void {
  if (value < 0x1_0000_0000n) {
    writeHead(sink, UINT, Number(value));
    return;
  }
  sink.byte((UINT << 5) | 27);
  for (let shift = 56n; shift >= 0n; shift -= 8n) sink.byte(Number((value >> shift) & 0xffn));
}

/** An integer whose amount fits 32 bits. */
export function writeInt(sink: ByteSink, value: number): void {
  if (value < 0) writeHead(sink, NEGATIVE, -1 - value);
  else writeHead(sink, UINT, value);
}

export function writeText(sink: ByteSink, text: string): void {
  let length = 0;
  eachUtf8Byte(text, () => length++);
  writeHead(sink, TEXT, length);
  eachUtf8Byte(text, (byte) => sink.byte(byte));
}

export function writeBytes(sink: ByteSink, bytes: Uint8Array): void {
  writeHead(sink, BYTES, bytes.length);
  for (const byte of bytes) sink.byte(byte);
}

/** The beginning of an array, whose `length` items follow. */
export function writeArrayHead(sink: ByteSink, length: number): void {
  writeHead(sink, ARRAY, length);
}

export function writeNull(sink: ByteSink): void {
  sink.byte(NULL);
}

function writeHead(sink: ByteSink, major: number, value: number): void {
  const head = major << 5;
  if (value < 24) {
    sink.byte(head | value);
  } else if (value < 0x100) {
    sink.byte(head | 24);
    sink.byte(value);
  } else if (value < 0x10000) {
    sink.byte(head | 25);
    sink.byte(value >>> 8);
    sink.byte(value & 0xff);
  } else {
    sink.byte(head | 26);
    for (let shift = 24; shift >= 0; shift -= 8) sink.byte((value >>> shift) & 0xff);
  }
}
