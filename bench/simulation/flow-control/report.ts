// Runs the scenarios of flow control one after the other, and prints or documents what comes of them.

import { markdownTable, writePlot, writeSection } from "../documentation.ts";
import { detectors } from "./detectors.ts";
import { longDocuments } from "./long-documents.ts";
import { noisyNeighbour } from "./noisy-neighbour.ts";
import { priorities } from "./priorities.ts";
import type { Scenario } from "./scenario.ts";

const SCENARIOS: readonly Scenario[] = [noisyNeighbour, longDocuments, priorities, detectors];

interface Output {
  readonly print: (text: string) => void;
  /** For progress. */
  readonly complain: (text: string) => void;
}

export function runFlowControl(
  isDocumented: boolean,
  { print, complain }: Output,
  scenarios = SCENARIOS,
): void {
  const sections: string[] = [];
  for (const scenario of scenarios) {
    const { title, about, heads } = scenario;
    const { rows, plot } = scenario.run((row) => complain(`${title}: ${row.join(" | ")}`));
    const image = plot === undefined ? [] : [`![${plot.title}](plots/${plot.file})`];
    const section = [`**${title}.** ${about}`, markdownTable(heads, rows), ...image].join("\n\n");
    print(section);
    sections.push(section);
    if (isDocumented && plot !== undefined) writePlot(plot.file, plot.svg);
  }
  if (isDocumented)
    writeSection("flow-control", "--flow-control --write-docs", sections.join("\n\n"));
}
