// One text after another at the same place of a terminal; below each other where there is none.

/** What of stdout is used. */
export interface Output {
  readonly isTTY?: boolean;
  readonly rows?: number;
  readonly columns?: number;
  write(text: string): unknown;
}

const HOME = "\u001b[H";
const CLEAR_SCREEN = "\u001b[2J";
const CLEAR_TO_LINE_END = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
/** Of a terminal that does not say. */
const ROWS = 24;
const COLUMNS = 80;

export class Screen {
  readonly #output: Output;
  #isBegun = false;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Puts `text` in the place of the one before. What does not fit on the terminal is cut, and counted. */
  show(text: string): void {
    if (this.#output.isTTY !== true) {
      this.#output.write(this.#isBegun ? `\n${text}` : text);
    } else {
      const lines = this.#fit(text.trimEnd().split("\n"));
      const drawn = lines.map((line) => `${line}${CLEAR_TO_LINE_END}\n`).join("");
      this.#output.write(`${this.#isBegun ? "" : CLEAR_SCREEN}${HOME}${drawn}${CLEAR_BELOW}`);
    }
    this.#isBegun = true;
  }

  #fit(lines: readonly string[]): string[] {
    const { rows = ROWS, columns = COLUMNS } = this.#output;
    // One row is the cursor's, and a terminal that has none at all gets one line anyway.
    const room = Math.max(1, rows - 1);
    const shown = lines.length <= room ? [...lines] : lines.slice(0, room - 1);
    if (shown.length < lines.length)
      shown.push(`… and ${lines.length - shown.length} more lines: --once prints all`);
    return shown.map((line) => (line.length <= columns ? line : `${line.slice(0, columns - 1)}…`));
  }
}
