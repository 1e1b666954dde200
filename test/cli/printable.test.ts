import { expect, it } from "vitest";
import { printable } from "../../src/cli/printable.ts";

it.for([
  {
    what: "plain text and its lines",
    text: "acme/chat-8b ü 模型\nnext",
    shown: "acme/chat-8b ü 模型\nnext",
  },
  { what: "escape sequences", text: "\u001b[2Jgone\u009b1m", shown: "\uFFFD[2Jgone\uFFFD1m" },
  { what: "a carriage return and a tab", text: "a\rb\tc", shown: "a\uFFFDb\uFFFDc" },
  { what: "writing from right to left", text: "a\u202eb\u2066c", shown: "a\uFFFDb\uFFFDc" },
])("shows $what as it can be shown", ({ text, shown }) => {
  expect(printable(text)).toBe(shown);
});
