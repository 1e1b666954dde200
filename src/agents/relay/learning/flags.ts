import { choiceFlag, numberFlag, type Flag } from "../../process/flags.ts";
import { LEARNED_LIMITS } from "../../learning/learned-message.ts";

/** Collectors of one pool that are told. */
const COLLECTORS_MAX = 8;
const PROMPTS_PER_SECOND_MAX = 1_000;

export const LEARN_FLAGS = {
  "learn-to": collectorsFlag(),
  "learn-block-tokens": numberFlag(
    "tokens of a key that collectors are told; engines' block sizes must be multiples of it",
    { min: 1, max: LEARNED_LIMITS.tokensPerKeyMax, isInteger: true },
    16,
  ),
  "learn-rate": numberFlag(
    "prompts a second that engines are asked for tokens of, at most",
    { min: 0.01, max: PROMPTS_PER_SECOND_MAX, isInteger: false },
    200,
  ),
  "learn-media": choiceFlag(
    ["skip", "render"],
    "render: also learn what is behind media, for which engines fetch and prepare these again",
    "skip",
  ),
} as const;

interface LearnFlagValues {
  readonly "learn-to": readonly string[];
  readonly "learn-block-tokens": number;
  readonly "learn-rate": number;
  readonly "learn-media": "skip" | "render";
}

/** Undefined where nobody is told. */
export function learningOptions(flags: LearnFlagValues) {
  const collectors = flags["learn-to"];
  if (collectors.length === 0) return undefined;
  return {
    collectors,
    tokensPerKey: flags["learn-block-tokens"],
    promptsPerSecondMax: flags["learn-rate"],
    areMediaRendered: flags["learn-media"] === "render",
  };
}

function collectorsFlag(): Flag<readonly string[]> {
  return {
    placeholder: "URL,…",
    help: "collectors that are told what prompts' content becomes, http(s)://HOST:PORT of --learn-listen",
    fallback: [],
    parse(text) {
      const urls = text.split(",");
      return urls.length <= COLLECTORS_MAX && urls.every(isHttpUrl)
        ? { ok: true, value: urls }
        : {
            ok: false,
            expected: `at most ${COLLECTORS_MAX} of http(s)://HOST:PORT, between commas`,
          };
    },
  };
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && ["http:", "https:"].includes(url.protocol);
}
