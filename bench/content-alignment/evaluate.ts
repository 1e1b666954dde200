// How far the tokens said to belong to content blocks are from those that do.
//
// Truth: two prompts that share content blocks 1 to i and no more share the tokens up to their first
// difference. Said of one of them: blocks 1 to i are tokens 1 to n. More than is shared is `over`: cache
// that is not there. Less, beyond what blocks of 256 bytes leave open, is `under`.

import { alignContent } from "../../src/scheduler/kv/residency/content-alignment.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { type Case, conversation, sibling } from "./conversations.ts";
import type { Model, SeenPrompt } from "./prompts.ts";

export const METHODS = ["aligned", "anchored", "proportional"] as const;
export type Method = (typeof METHODS)[number];

/** Tokens of an engine's block. */
const BLOCK_TOKENS = 16;
/** Prompts that begin like one. Each is tested in turn, while `anchored` learns from the others. */
const SIBLINGS = 4;
const TURNS_MAX = 6;

/** Of one method, by pair of prompts, in engine blocks. */
export interface Errors {
  readonly over: number[];
  readonly under: number[];
}

export interface Evaluation {
  readonly pairs: number;
  /** Content blocks whose end was found in the rendered text, of all. */
  readonly foundShare: number;
  readonly errors: Readonly<Record<Method, Errors>>;
}

export async function evaluate(model: Model, kind: Case, pairs: number): Promise<Evaluation> {
  const rng = createRng(1_000 + pairs);
  const errors: Record<Method, Errors> = {
    aligned: { over: [], under: [] },
    anchored: { over: [], under: [] },
    proportional: { over: [], under: [] },
  };
  let found = 0;
  let blocks = 0;
  for (let done = 0; done < pairs; done += SIBLINGS) {
    const base = conversation(rng, kind, 1 + Math.floor(rng() * TURNS_MAX));
    const known = await model.see(base);
    const siblings: SeenPrompt[] = [];
    for (let i = 0; i < SIBLINGS; i++) siblings.push(await model.see(sibling(rng, base, kind)));
    const alignment = alignContent(known.canonical, known.rendered);
    found += alignment.foundBlocks;
    blocks += alignment.tokenCounts.length;
    for (const next of siblings) {
      const others = siblings.filter((other) => other !== next);
      const counts: Record<Method, Uint32Array> = {
        aligned: alignment.tokenCounts,
        anchored: interpolate(known, anchors(known, others)),
        proportional: interpolate(known, [[0, 0]]),
      };
      const shared = sharedBlocks(known.keys, next.keys);
      const sharedTokens = commonLength(known.tokens, next.tokens);
      for (const method of METHODS) {
        const error = errorInBlocks(counts[method], shared, sharedTokens);
        errors[method].over.push(error.over);
        errors[method].under.push(error.under);
      }
    }
  }
  return { pairs, foundShare: blocks === 0 ? 1 : found / blocks, errors };
}

function errorInBlocks(counts: Uint32Array, shared: number, sharedTokens: number) {
  const toBlocks = (tokens: number) => Math.floor(tokens / BLOCK_TOKENS);
  const said = shared === 0 ? 0 : toBlocks(counts[shared - 1]!);
  const saidNext = shared < counts.length ? toBlocks(counts[shared]!) : Infinity;
  const actual = toBlocks(sharedTokens);
  return { over: Math.max(0, said - actual), under: Math.max(0, actual - saidNext) };
}

type Anchor = readonly [bytes: number, tokens: number];

/** What ids alone tell: where a prompt parts from others, and in which content block. */
function anchors(known: SeenPrompt, others: readonly SeenPrompt[]): Anchor[] {
  const found: Anchor[] = [[0, 0]];
  for (const other of others) {
    const blocks = sharedBlocks(known.keys, other.keys);
    // It parts somewhere in the next block: in its middle, as far as one can tell.
    if (blocks * 2 < known.keys.length) {
      found.push([(blocks + 0.5) * 256, commonLength(known.tokens, other.tokens)]);
    }
  }
  return found.sort((a, b) => a[0] - b[0]);
}

function interpolate(known: SeenPrompt, from: readonly Anchor[]): Uint32Array {
  const points: Anchor[] = [...from, [known.canonical.length, known.tokens.length]];
  return Uint32Array.from({ length: known.keys.length / 2 }, (_, i) => {
    const bytes = (i + 1) * 256;
    const at = Math.max(
      1,
      points.findIndex(([to]) => to >= bytes),
    );
    const [fromBytes, fromTokens] = points[at - 1]!;
    const [toBytes, toTokens] = points[at]!;
    const share = (bytes - fromBytes) / Math.max(1, toBytes - fromBytes);
    return Math.floor(fromTokens + share * (toTokens - fromTokens));
  });
}

function sharedBlocks(a: Uint32Array, b: Uint32Array): number {
  return commonLength(a, b) >>> 1;
}

function commonLength(a: Uint32Array, b: Uint32Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** The value that a share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
