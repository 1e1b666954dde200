// Conversations that share a system prompt: what an event on one of its blocks costs, and what stays known.
//
//   tokens    s1 … s91 │ s92 s93 s94 │ u1 … u9       u: of one conversation alone
//   content   c1 … c22 │     c23        │ …             c23 is where the system prompt ends, so it is each one's own

import { ContentResidency } from "../src/scheduler/kv/residency/content-residency.ts";
import { HELD_ON_GPU, NOT_HELD } from "../src/scheduler/kv/residency/holding.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { nanosecondsEach, sink, type Timing } from "./measure.ts";

const SHARED_TOKEN_BLOCKS = 94;
const SHARED_CONTENT_BLOCKS = 22;
const OWN_TOKEN_BLOCKS = 10;
const OWN_CONTENT_BLOCKS = 4;
/** Of the shared token blocks, those in the content block where the system prompt ends. */
const BORDER_BLOCKS = 3;
/** Conversations that one endpoint has. */
const HELD_CONVERSATIONS = 200;

export interface SharedPrefixFigures {
  /** A shared block goes or comes where no conversation is held: the usual order, tail first. */
  readonly nsPerEvent: number;
  /** The same where conversations are held behind it. */
  readonly nsPerHeldEvent: number;
  /** Of all conversations, those whose content is known to its end. */
  readonly knownShare: number;
}

export async function measureSharedPrefix(
  conversations: number,
  timing: Timing,
): Promise<SharedPrefixFigures> {
  const contents = new ContentResidency({ held: () => void sink.value++ });
  const rng = createRng(13);
  const words = (blocks: number) =>
    Uint32Array.from({ length: blocks * 2 }, () => Math.floor(rng() * 2 ** 32));
  const joined = (a: Uint32Array, b: Uint32Array) => Uint32Array.of(...a, ...b);
  const sharedTokens = words(SHARED_TOKEN_BLOCKS);
  const sharedContent = words(SHARED_CONTENT_BLOCKS);
  const sharedEnd = SHARED_TOKEN_BLOCKS - BORDER_BLOCKS;
  const ends = Uint32Array.from({ length: SHARED_CONTENT_BLOCKS + OWN_CONTENT_BLOCKS }, (_, i) =>
    i < SHARED_CONTENT_BLOCKS
      ? Math.floor(((i + 1) * sharedEnd) / SHARED_CONTENT_BLOCKS)
      : SHARED_TOKEN_BLOCKS + (i - SHARED_CONTENT_BLOCKS) * BORDER_BLOCKS + 1,
  );
  const hold = (slot: number, keys: Uint32Array, holding: typeof NOT_HELD | typeof HELD_ON_GPU) => {
    for (let at = 0; at < keys.length; at += 2) {
      contents.held(slot, keys[at]!, keys[at + 1]!, holding);
    }
  };
  const prompts = Array.from({ length: conversations }, () => ({
    contentKeys: joined(sharedContent, words(OWN_CONTENT_BLOCKS)),
    tokenKeys: joined(sharedTokens, words(OWN_TOKEN_BLOCKS)),
  }));
  for (const prompt of prompts) contents.learn({ ...prompt, ends });
  const isKnown = ({ contentKeys }: { readonly contentKeys: Uint32Array }) =>
    contents.endOf(contentKeys.at(-2)!, contentKeys.at(-1)!) !== undefined;
  for (const { tokenKeys } of prompts.slice(-HELD_CONVERSATIONS)) hold(0, tokenKeys, HELD_ON_GPU);
  const border = sharedTokens.slice(-2 * BORDER_BLOCKS);
  const comeAndGo = (slot: number) => () => {
    hold(slot, border, NOT_HELD);
    hold(slot, border, HELD_ON_GPU);
  };
  hold(1, sharedTokens, HELD_ON_GPU);
  const ns = await nanosecondsEach({ idle: comeAndGo(1), held: comeAndGo(0) }, timing);
  const events = 2 * BORDER_BLOCKS;
  return {
    nsPerEvent: ns.idle / events,
    nsPerHeldEvent: ns.held / events,
    knownShare: prompts.filter(isKnown).length / conversations,
  };
}
