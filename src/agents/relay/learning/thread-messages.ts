// What the relay and the thread that learns say to each other.

import type { EngineTls } from "../engine-tls.ts";
import type { ToldOutcome } from "./collector-feed.ts";
import type { AskedFor } from "./engine-asker.ts";
import type { LearnRequest } from "./learn-prompt.ts";
import type { AnswerOutcome, LearnOutcome } from "./outcomes.ts";

/** What the thread is handed: the prompt, the conversation with its answer, or both. */
export interface LearnJob extends LearnRequest {
  readonly isPromptNew: boolean;
  /** As the engine sent it. */
  readonly answer?: Uint8Array;
}

export interface ThreadOptions {
  /** Base URLs of the collectors' learning ports. */
  readonly collectors: readonly string[];
  readonly token: string;
  readonly tokensPerKey: number;
  readonly promptsPerSecondMax: number;
  readonly areMediaRendered: boolean;
  /** How engines that speak TLS are connected to; absent: as without flags. */
  readonly engineTls?: EngineTls | undefined;
  /** Origin of who renders prompts in the engines' place, if anybody. */
  readonly renderOrigin?: string | undefined;
  /** How long an engine may take to answer. */
  readonly askMsMax?: number | undefined;
}

export type ThreadReport =
  | {
      readonly kind: "done";
      readonly endpoint: string;
      /** Of body and answer. */
      readonly bytes: number;
      /** Of the prompt. */
      readonly lastKey: string;
      /** Where it was to be learned. */
      readonly prompt?: LearnOutcome;
      readonly answer?: AnswerOutcome;
      /** Last key of the conversation, where it was learned: the next prompt may end in the same block. */
      readonly learnedKey?: string;
      /** Content blocks from a media item on that stay unknown. */
      readonly mediaBlocks: number;
      /** Of all messages that are kept. */
      readonly storedBytes: number;
    }
  /** An engine or the renderer does not answer in time; what waited for it is given up. */
  | { readonly kind: "slow"; readonly origin: string }
  | { readonly kind: "told"; readonly outcome: ToldOutcome; readonly count: number }
  | { readonly kind: "asked"; readonly what: AskedFor };
