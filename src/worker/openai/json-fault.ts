// Where a text stops being JSON. Only asked once JSON.parse has refused it: the engine's own message
// quotes the text, which is a prompt.

const SPACE = /[ \t\n\r]*/y;
const LITERAL = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

export interface JsonFault {
  /** Both from 1; columns count UTF-16 code units. */
  readonly line: number;
  readonly column: number;
}

/** Position of the first character that cannot stand where it does; undefined if all can. */
export function findJsonFault(text: string): JsonFault | undefined {
  const at = faultIndex(text);
  if (at === undefined) return undefined;
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: at - lineStart + 1 };
}

type Expected = "value" | "value or ]" | "key" | "key or }" | "colon" | "comma or end";

/** Iterative, so that depth costs memory and never the stack. */
function faultIndex(text: string): number | undefined {
  const open: ("{" | "[")[] = [];
  let expected: Expected = "value";
  let at = skip(SPACE, text, 0);
  while (expected !== "comma or end" || open.length > 0) {
    const char = text[at];
    const container = open.at(-1);
    if (expected === "colon") {
      if (char !== ":") return at;
      expected = "value";
      at++;
    } else if (expected === "comma or end") {
      if (char === ",") expected = container === "{" ? "key" : "value";
      else if (char === (container === "{" ? "}" : "]")) open.pop();
      else return at;
      at++;
    } else if (
      (expected === "key or }" && char === "}") ||
      (expected === "value or ]" && char === "]")
    ) {
      open.pop();
      expected = "comma or end";
      at++;
    } else if (expected === "key" || expected === "key or }") {
      const string = skipString(text, at);
      if (!string.isWhole) return string.end;
      expected = "colon";
      at = string.end;
    } else if (char === "{" || char === "[") {
      open.push(char);
      expected = char === "{" ? "key or }" : "value or ]";
      at++;
    } else if (char === '"') {
      const string = skipString(text, at);
      if (!string.isWhole) return string.end;
      expected = "comma or end";
      at = string.end;
    } else {
      const end = skip(LITERAL, text, at);
      if (end === at) return at;
      expected = "comma or end";
      at = end;
    }
    at = skip(SPACE, text, at);
  }
  return at === text.length ? undefined : at;
}

/** End of what the sticky pattern matches at `at`; `at` if nothing does. */
function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

/**
 * End of the string that should begin at `at`, or where it goes wrong. Not one pattern: a pattern
 * would need a stack as long as the string.
 */
function skipString(text: string, at: number): { readonly isWhole: boolean; readonly end: number } {
  if (text[at] !== '"') return { isWhole: false, end: at };
  let end = at + 1;
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === 0x22) return { isWhole: true, end: end + 1 };
    if (code < 0x20) break;
    if (code !== 0x5c) continue;
    const escapeEnd = skip(ESCAPE, text, end);
    if (escapeEnd === end) break;
    end = escapeEnd - 1;
  }
  return { isWhole: false, end };
}
