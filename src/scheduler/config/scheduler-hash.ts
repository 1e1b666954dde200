// A short name for a complete scheduling configuration: two that schedule alike have the same.
//
// Releases may complete the same document in different ways, so that between them it may differ for nothing.

import { mixed } from "../kv/pair-words.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";

/** Of two chains, for 64 bits in all. */
const OFFSETS = [0x811c9dc5, 0x9e3779b9] as const;

export function schedulerHash(config: SchedulerConfig): string {
  const text = JSON.stringify(config);
  return OFFSETS.map((offset) => hex(chained(offset, text))).join("");
}

function chained(offset: number, text: string): number {
  let word: number = offset;
  for (let i = 0; i < text.length; i++) word = mixed(word ^ text.charCodeAt(i));
  return word;
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}
