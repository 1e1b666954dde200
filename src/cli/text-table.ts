// Tables for a terminal.

/** Headings are broken at hyphens into lines of about this length; the weight has its own. */
const HEADING_CHARS_MAX = 9;

/** Of a table with a line for each `Row`. */
export interface Column<Row> {
  readonly heading: string;
  readonly align: "left" | "right";
  cell(row: Row): string;
}

/** Lines indented by two; headings stand above, broken where they are long. */
export function renderTable<Row>(columns: readonly Column<Row>[], items: readonly Row[]): string[] {
  const headings = columns.map((column) => breakHeading(column.heading));
  const height = Math.max(...headings.map((lines) => lines.length));
  // Headings stand on the first row of candidates.
  const rows = Array.from({ length: height }, (_, line) =>
    headings.map((lines) => lines[line - height + lines.length] ?? ""),
  );
  rows.push(...items.map((item) => columns.map((column) => column.cell(item))));
  const widths = columns.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  return rows.map((row) =>
    row
      .map((cell, c) => {
        const { align } = columns[c]!;
        return `  ${align === "left" ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)}`;
      })
      .join("")
      .trimEnd(),
  );
}

function breakHeading(heading: string): string[] {
  const lines: string[] = [];
  for (const part of heading.match(/×.*|[^- ]+[- ]?/g) ?? []) {
    const joined = (lines.at(-1) ?? "") + part;
    const isNewLine =
      lines.length === 0 || part.startsWith("×") || joined.trimEnd().length > HEADING_CHARS_MAX;
    if (isNewLine) lines.push(part);
    else lines[lines.length - 1] = joined;
  }
  return lines.map((line) => line.trimEnd());
}

/** Broken at its capitals: prefillMs becomes prefill ms. */
export function termHeading(term: string): string {
  return term.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
