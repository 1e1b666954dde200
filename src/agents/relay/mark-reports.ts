// Tells the pool's object which endpoints this relay cannot reach. Unlike ticket reports, marks are
// never kept for later: what was not said in time is no longer news. After a resync those that still
// stand are said again; one that was cleared while the session was down ends with its lease.

import { encodeFrame, FRAME, type FramePlace } from "../protocol/codec.ts";
import type { Mark } from "../protocol/messages.ts";
import { SINCE_VERSION } from "../protocol/version.ts";

/** The part of a session that is needed here. */
export interface MarkSender {
  /** Of the connected object; 0 while the session is down. */
  readonly version: number;
  send(encode: (place: FramePlace) => Uint8Array): boolean;
}

/** Sends `marks`, at most PROTOCOL_LIMITS.marksMax, if the object can hear them now. */
export function tellMarks(sender: MarkSender, marks: readonly Mark[]): void {
  if (marks.length === 0 || sender.version < SINCE_VERSION.marks) return;
  const payload = Buffer.from(JSON.stringify({ marks }));
  sender.send((place) => encodeFrame({ ...place, type: FRAME.marks }, payload));
}
