// The name of a ticket. To Worker and relay it is opaque. The object packs into it what only it knows
// of the request, so that an object that lost its memory learns it back from the relay's reports
// without having written anything:
//
//   a81b22f0c4d97e13-4t.zk.e8.1b2.-1     epoch - number . prompt . output . reserved . priority
//
// An isolate that decides alone gives names of the same form, with an epoch of its own that begins with
// EDGE_EPOCH_PREFIX.
//
// Numbers are base 36. At most 16 + 1 + 11 + 4 × 8 characters, well below the protocol's limit. An
// object of the release before gave names that end after the number; their facts count as 0.

/** Begins the epochs of isolates. An object's are hexadecimal. */
export const EDGE_EPOCH_PREFIX = "i";

/** More tokens than any context holds; what is beyond is cut, so that a name stays short. */
export const NAMED_TOKENS_MAX = 36 ** 6 - 1;
/** Either side of zero. */
export const NAMED_PRIORITY_MAX = 36 ** 6 - 1;

const NAME =
  /^([0-9a-z]{1,32})-[0-9a-z]{1,11}(?:\.([0-9a-z]{1,6})\.([0-9a-z]{1,6})\.([0-9a-z]{1,6})\.(-?[0-9a-z]{1,6}))?$/;

/** What a ticket is settled and charged with. */
export interface TicketFacts {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly reservedTokens: number;
  readonly priority: number;
}

export interface TicketName extends TicketFacts {
  /** The life of the object that gave the name. */
  readonly epoch: string;
}

export function encodeTicketName(epoch: string, number: number, facts: TicketFacts): string {
  const { promptTokens, outputTokens, reservedTokens, priority } = facts;
  const tokens = [promptTokens, outputTokens, reservedTokens].map((count) =>
    clamp(count, 0, NAMED_TOKENS_MAX),
  );
  const packed = [...tokens, clamp(priority, -NAMED_PRIORITY_MAX, NAMED_PRIORITY_MAX)];
  return `${epoch}-${[number, ...packed].map((value) => value.toString(36)).join(".")}`;
}

/** Whether an isolate gave the name, and no object. */
export function isEdgeTicket(name: string): boolean {
  return name.startsWith(EDGE_EPOCH_PREFIX);
}

/** Whether it can be parsed. */
export function isTicketName(name: string): boolean {
  return NAME.test(name);
}

/** Undefined for a name that no object gave. */
export function parseTicketName(name: string): TicketName | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  const [promptTokens, outputTokens, reservedTokens, priority] = match
    .slice(2)
    .map((digits) => Number.parseInt(digits ?? "0", 36));
  return {
    epoch: match[1]!,
    promptTokens: promptTokens!,
    outputTokens: outputTokens!,
    reservedTokens: reservedTokens!,
    priority: priority!,
  };
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, Math.round(value)));
}
