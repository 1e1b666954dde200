import { describe, expect, it } from "vitest";
import { type Output, Screen } from "../../../src/cli/queue/screen.ts";

/** A screen, and what it wrote at each call. */
function createScreen(shape: Pick<Output, "isTTY" | "rows" | "columns">) {
  const written: string[] = [];
  return { screen: new Screen({ ...shape, write: (text) => written.push(text) }), written };
}

describe("a screen", () => {
  it("puts one text below the other where there is no terminal, however long", () => {
    const { screen, written } = createScreen({});
    screen.show("a\n");
    screen.show(`${"b".repeat(500)}\n`);
    expect(written.join("")).toBe(`a\n\n${"b".repeat(500)}\n`);
  });

  it("clears a terminal once, and then draws over what is there", () => {
    const { screen, written } = createScreen({ isTTY: true, rows: 10, columns: 20 });
    screen.show("a\nb\n");
    screen.show("c\n");
    expect(written).toEqual([
      "\u001b[2J\u001b[Ha\u001b[K\nb\u001b[K\n\u001b[J",
      "\u001b[Hc\u001b[K\n\u001b[J",
    ]);
  });

  it("cuts what does not fit, and says how much it is", () => {
    const { screen, written } = createScreen({ isTTY: true, rows: 4, columns: 10 });
    screen.show("1\n2\n3 3 3 3 3 3 3\n");
    screen.show("1\n2\n3\n4\n");
    expect(written[0]).toContain("3 3 3 3 3…");
    expect(written[1]).toContain("2\u001b[K\n… and 2 m…");
  });

  it("never writes more lines than a terminal has", () => {
    for (let rows = 1; rows < 6; rows++) {
      const { screen, written } = createScreen({ isTTY: true, rows, columns: 80 });
      screen.show("1\n2\n3\n4\n5\n6\n7\n8\n");
      expect(written[0]!.split("\n").length).toBeLessThanOrEqual(Math.max(2, rows));
    }
  });
});
