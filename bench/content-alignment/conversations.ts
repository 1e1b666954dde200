// Conversations as clients send them, made from a seed: agents with tools, chats in several scripts, code,
// reasoning that templates drop later, media. Pairs of them share a beginning, and part anywhere.

import type { Rng } from "../../src/scheduler/support/rng.ts";

export interface Message {
  readonly role: string;
  readonly content?: string | readonly ContentPart[];
  readonly tool_calls?: readonly ToolCall[];
  readonly tool_call_id?: string;
}
type ContentPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } };
interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}
export interface Conversation {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly tools?: readonly unknown[];
}

export const CASES = [
  "chat",
  "scripts",
  "code",
  "tools",
  "tool-calls",
  "reasoning",
  "images",
] as const;
export type Case = (typeof CASES)[number];

const ENGLISH =
  "the of and to in is that for it as was with on be by at this have from or had not are but what all were when we there can an your which their said if will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know get through back much before go good new write our used me man too any day same right look think also around another came come work three word must because does part even place well such here take why things help put years different away again off went old number great tell men say small every found still between name should home big give air line set own under read last never us left end along while might next sound below saw something thought both few those always looked show large often together asked house world going want school important until form food keep children feet land side without boy once animals life enough took sometimes four head above kind began almost live page got earth need far hand high year mother light parts country father let night following picture being study second eyes soon times story boys since white days ever paper hard near sentence better best across during today others however sure means knew try told young miles sun ways thing whole hear example heard several change answer room sea against top turned learn point city play toward five using himself usually".split(
    " ",
  );
const CHINESE =
  "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运";
const EMOJI = ["🙂", "👩‍👩‍👧", "🚀", "🇩🇪", "👍🏽"];
const RUSSIAN =
  "и в не на я быть он с что а по это она этот к но они мы весь который из у свой вы за так от сказать мочь такой самый только её год рука большой день другой человек время дело жизнь вопрос должен".split(
    " ",
  );

function pick<T>(rng: Rng, items: ArrayLike<T>): T {
  return items[Math.floor(rng() * items.length)]!;
}

function prose(rng: Rng, words: number): string {
  let text = "";
  for (let i = 0; i < words; i++) {
    const word = pick(rng, ENGLISH);
    if (text === "" || text.endsWith(". ") || text.endsWith("\n\n")) {
      text += word[0]!.toUpperCase() + word.slice(1);
    } else text += word;
    const roll = rng();
    text += roll < 0.08 ? ". " : roll < 0.14 ? ", " : roll < 0.15 ? ".\n\n" : " ";
    if (roll > 0.98) text += `${Math.floor(rng() * 100_000)} `;
  }
  return text;
}

function scripts(rng: Rng, words: number): string {
  let text = "";
  for (let i = 0; i < words; i++) {
    const roll = rng();
    if (roll < 0.5) for (let k = 0; k < 5; k++) text += pick(rng, CHINESE);
    else if (roll < 0.8) text += ` ${pick(rng, RUSSIAN)}`;
    else if (roll < 0.9) text += ` ${pick(rng, EMOJI)} `;
    else text += `${pick(rng, ["。", "，", "é", "ß", " naïve ", "…"])}`;
  }
  return text;
}

function code(rng: Rng, words: number): string {
  let text = "```ts\n";
  for (let i = 0; i < words / 6; i++) {
    const name = `${pick(rng, ENGLISH)}_${pick(rng, ENGLISH)}${Math.floor(rng() * 99)}`;
    text += `${"  ".repeat(Math.floor(rng() * 4))}const ${name} = ${pick(rng, ENGLISH)}(0x${Math.floor(rng() * 65_536).toString(16)}, "${pick(rng, ENGLISH)}\\n");\n`;
  }
  return `${text}\`\`\`\n`;
}

function tool(rng: Rng): unknown {
  const properties: Record<string, unknown> = {};
  const count = 1 + Math.floor(rng() * 4);
  for (let i = 0; i < count; i++) {
    properties[`${pick(rng, ENGLISH)}_${i}`] = {
      type: pick(rng, ["string", "integer", "boolean"]),
      description: prose(rng, 12).trim(),
    };
  }
  return {
    type: "function",
    function: {
      name: `${pick(rng, ENGLISH)}_${pick(rng, ENGLISH)}`,
      description: `${prose(rng, 25).trim()} <"quoted" & more>`,
      parameters: { type: "object", properties, required: Object.keys(properties) },
    },
  };
}

function body(rng: Rng, kind: Case, words: number): string {
  if (kind === "scripts") return scripts(rng, words);
  if (kind === "code") return code(rng, words) + prose(rng, words / 4);
  // Templates trim: some texts begin or end with whitespace.
  return rng() < 0.2 ? `\n ${prose(rng, words)}\n` : prose(rng, words);
}

function turn(rng: Rng, kind: Case, at: number): Message[] {
  const user = body(rng, kind, 20 + rng() * 220);
  const answer = body(rng, kind, 30 + rng() * 300);
  if (kind === "images") {
    const url = `https://images.example/${Math.floor(rng() * 1e9)}/${pick(rng, ENGLISH)}.png`;
    return [
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url } },
          { type: "text", text: user },
        ],
      },
      { role: "assistant", content: answer },
    ];
  }
  if (kind === "reasoning") {
    const thought = `<think>\n${prose(rng, 60 + rng() * 200)}\n</think>\n\n`;
    return [
      { role: "user", content: user },
      { role: "assistant", content: thought + answer },
    ];
  }
  if (kind === "tool-calls") {
    const id = `call_${at}`;
    const args = JSON.stringify({ query: prose(rng, 8).trim(), limit: at, exact: true });
    return [
      { role: "user", content: user },
      {
        role: "assistant",
        content: "",
        tool_calls: [{ id, type: "function", function: { name: "search", arguments: args } }],
      },
      { role: "tool", tool_call_id: id, content: body(rng, "code", 120) },
      { role: "assistant", content: answer },
    ];
  }
  return [
    { role: "user", content: user },
    { role: "assistant", content: answer },
  ];
}

export function conversation(rng: Rng, kind: Case, turns: number): Conversation {
  const messages: Message[] = [];
  if (rng() < 0.85) {
    messages.push({ role: "system", content: body(rng, kind, 40 + rng() * 500) });
  }
  for (let at = 0; at < turns; at++) messages.push(...turn(rng, kind, at));
  // The last word is a user's.
  messages.push({ role: "user", content: body(rng, kind, 20 + rng() * 100) });
  const hasTools = kind === "tools" || kind === "tool-calls";
  const count = hasTools ? 2 + Math.floor(rng() * 10) : 0;
  const tools = Array.from({ length: count }, () => tool(rng));
  return { model: "m", messages, ...(hasTools ? { tools } : {}) };
}

/** Another request that begins as `base` does: its next turn, or one that parts within a text. */
export function sibling(rng: Rng, base: Conversation, kind: Case): Conversation {
  if (rng() < 0.4) {
    const answer = { role: "assistant", content: body(rng, kind, 100) };
    return { ...base, messages: [...base.messages, answer, ...turn(rng, kind, 90).slice(0, 1)] };
  }
  const at = Math.floor(rng() * base.messages.length);
  const message = base.messages[at]!;
  const rest = turn(rng, kind, 91);
  if (typeof message.content !== "string" || message.content === "") {
    return { ...base, messages: [...base.messages.slice(0, at), ...rest.slice(0, 1)] };
  }
  const cut = Math.floor(rng() * message.content.length);
  // A character of two code units is not cut: such a body is refused.
  const kept = message.content.slice(0, cut).replace(/[\ud800-\udbff]$/u, "");
  const content = kept + body(rng, kind, 60);
  const messages = [...base.messages.slice(0, at), { ...message, content }];
  if (message.role !== "user") messages.push(...rest.slice(0, 1));
  return { ...base, messages };
}
