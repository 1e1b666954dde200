// The frames of a message: live ones, and a replay's in both framings.
//
//   live             | topic | seq | payload |
//   replay request   |  ""   | from |
//   replayed, new    |  ""   | topic | seq | payload |      end  | "" | "" | FF×8 | "" |
//   replayed, old    |  ""   | seq | payload |              end  | "" | FF×8 | "" |
//
// seq is 8 bytes, big-endian, counted by the publisher's socket. New is vLLM from 0.26 and llm-d's
// simulator; old is vLLM before it and SGLang. llm-d's router knows the new framing only.

const SEQUENCE_BYTES = 8;
const WORD = 0x1_0000_0000;
const TEXT = new TextDecoder();
/** Bytes of a topic that are looked at: a pod's address and a model's name. */
export const TOPIC_BYTES_MAX = 1_024;

export interface BatchFrames {
  readonly topic: Uint8Array;
  readonly seq: number;
  readonly payload: Uint8Array;
}

export type ReplayFrames =
  | ({ readonly type: "batch" } & BatchFrames)
  /** Nothing more is kept. */
  | { readonly type: "end" };

/** Undefined if these are not the frames of a live batch. */
export function parseLiveFrames(frames: readonly Uint8Array[]): BatchFrames | undefined {
  if (frames.length !== 3) return undefined;
  const [topic, sequence, payload] = frames as [Uint8Array, Uint8Array, Uint8Array];
  const seq = readSequence(sequence);
  if (seq === undefined || topic.length > TOPIC_BYTES_MAX) return undefined;
  return { topic, seq, payload };
}

/** Undefined if these are not the frames of a replay's answer. */
export function parseReplayFrames(frames: readonly Uint8Array[]): ReplayFrames | undefined {
  if (frames.length < 3 || frames.length > 4 || frames[0]!.length > 0) return undefined;
  const payload = frames.at(-1)!;
  const sequence = frames.at(-2)!;
  const topic = frames.length === 4 ? frames[1]! : new Uint8Array(0);
  // A batch is never empty.
  if (payload.length === 0) return isEndMark(sequence) ? { type: "end" } : undefined;
  const seq = readSequence(sequence);
  if (seq === undefined || topic.length > TOPIC_BYTES_MAX) return undefined;
  return { type: "batch", topic, seq, payload };
}

/** Asks for every batch that is kept from `from` on. A DEALER sends the empty frame itself. */
export function encodeReplayRequest(from: number): [Uint8Array, Uint8Array] {
  const sequence = new Uint8Array(SEQUENCE_BYTES);
  const view = new DataView(sequence.buffer);
  view.setUint32(0, Math.floor(from / WORD));
  view.setUint32(4, from % WORD);
  return [new Uint8Array(0), sequence];
}

/** What a topic says: `kv@POD@MODEL`, where the model's name may contain `@`. */
export interface Topic {
  /** The whole topic where it has another form. */
  readonly pod: string;
  /** "" where it has another form. */
  readonly model: string;
}

export function parseTopic(topic: Uint8Array): Topic {
  const text = TEXT.decode(topic);
  // Forks of SGLang append a NUL and fields of their own.
  const end = text.indexOf("\u0000");
  const parts = (end === -1 ? text : text.slice(0, end)).split("@");
  const [prefix, pod, ...model] = parts;
  if (prefix !== "kv" || pod === undefined || model.length === 0) {
    return { pod: parts.join("@"), model: "" };
  }
  return { pod, model: model.join("@") };
}

/** Undefined if it is too short, or no count that a publisher could have reached. */
function readSequence(frame: Uint8Array): number | undefined {
  if (frame.length < SEQUENCE_BYTES) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const seq = view.getUint32(0) * WORD + view.getUint32(4);
  return Number.isSafeInteger(seq) ? seq : undefined;
}

function isEndMark(frame: Uint8Array): boolean {
  return frame.length === SEQUENCE_BYTES && frame.every((byte) => byte === 0xff);
}
