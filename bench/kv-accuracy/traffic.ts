// Conversations as a pool of agents and chats has them, from a seed: system prompts and tools that many
// share, turns that come back with all that was said before, and conversations that end.
//
//   live ──one is drawn──► its next turn is asked ──answered──► live again, or another takes its place
//
// A conversation goes on when its last turn was answered, with what the engine said: its cache holds that, too.
// One request at a time, the same seed gives the same requests in the same order.

import {
  type Case,
  type Conversation,
  conversation,
  type Message,
} from "../content-alignment/conversations.ts";
import { createRng, type Rng } from "../../src/scheduler/support/rng.ts";

/** System prompts with their tools, each shared by all conversations of its kind of work. */
const ASSISTANTS: readonly Case[] = ["chat", "scripts", "code", "tools", "tool-calls", "tools"];
const TURNS_MAX = 8;
/** The lower, the more often those that were asked last are asked again. */
const RECENCY = 0.6;

interface TrafficOptions {
  readonly seed: number;
  readonly model: string;
  /** Conversations that go on at once. */
  readonly live: number;
  /** Of an answer, evenly between the two. */
  readonly answerTokens: { readonly min: number; readonly max: number };
}

/** A request, and what is to be called when it is over. */
interface Turn {
  readonly body: string;
  /**
   * A conversation whose request was not answered does not go on. Where it is told what the engine said, that takes
   * the place of what the trace has.
   */
  readonly ended: (isAnswered: boolean, said?: string) => void;
}

interface Live {
  /** As far as it has gone, it has the engines' answers. */
  readonly whole: Conversation & { readonly messages: Message[] };
  /** Messages up to and with each of the user's. */
  readonly turns: readonly number[];
  next: number;
}

export class Traffic {
  readonly #options: TrafficOptions;
  readonly #rng: Rng;
  readonly #assistants: readonly { readonly kind: Case; readonly head: Conversation }[];
  /** Last asked first. */
  readonly #live: Live[] = [];

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#rng = createRng(options.seed);
    this.#assistants = ASSISTANTS.map((kind) => ({
      kind,
      head: conversation(this.#rng, kind, 1),
    }));
    for (let i = 0; i < options.live; i++) this.#live.push(this.#begin());
  }

  /** The next request, of a conversation that waits for none. */
  next(): Turn {
    const at = Math.floor(this.#rng() ** (1 / RECENCY) * this.#live.length);
    const drawn = this.#live.splice(at, 1)[0] ?? this.#begin();
    const { whole, turns } = drawn;
    const messages = whole.messages.slice(0, turns[drawn.next]!);
    const { model, answerTokens } = this.#options;
    const { min, max } = answerTokens;
    const maxTokens = Math.floor(min + (max - min) * this.#rng());
    const request = { ...whole, model, messages, max_tokens: maxTokens, ignore_eos: true };
    const ended = (isAnswered: boolean, said?: string) => {
      drawn.next++;
      const goesOn = isAnswered && drawn.next < turns.length;
      if (goesOn && said !== undefined) say(drawn, said);
      this.#live.unshift(goesOn ? drawn : this.#begin());
    };
    return { body: JSON.stringify(request), ended };
  }

  #begin(): Live {
    const rng = this.#rng;
    const { kind, head } = this.#assistants[Math.floor(rng() * this.#assistants.length)]!;
    const own = conversation(rng, kind, 1 + Math.floor(rng() * TURNS_MAX));
    const system = head.messages.filter(({ role }) => role === "system");
    const messages = [...system, ...own.messages.filter(({ role }) => role !== "system")];
    const whole =
      head.tools === undefined ? { ...own, messages } : { ...own, messages, tools: head.tools };
    const turns = messages.flatMap(({ role }, index) => (role === "user" ? [index + 1] : []));
    return { whole, turns, next: 0 };
  }
}

/** The engine's answer in the place of the trace's, before the user's next message. */
function say({ whole, turns, next }: Live, content: string): void {
  const last = turns[next]! - 2;
  if (whole.messages[last]?.role === "assistant") {
    whole.messages[last] = { role: "assistant", content };
  }
}
