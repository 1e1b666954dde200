// Prints how exactly content blocks are found again in token blocks, as docs/decisions/029 has it:
//   node bench/content-alignment.ts [--pairs 100] [--tokenizer FOLDER]...
// A folder has a model's tokenizer.json. Without one: two small vocabularies, trained here.

import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { CASES } from "./content-alignment/conversations.ts";
import {
  type Errors,
  evaluate,
  type Method,
  METHODS,
  quantile,
} from "./content-alignment/evaluate.ts";
import { Model } from "./content-alignment/prompts.ts";
import { TEMPLATES } from "./content-alignment/templates.ts";
import { smallVocabularies, withMarkers } from "./content-alignment/vocabularies.ts";

const { values } = parseArgs({
  options: {
    pairs: { type: "string", default: "100" },
    tokenizer: { type: "string", multiple: true, default: [] },
  },
});

const vocabularies = values.tokenizer.map((folder) => ({
  name: basename(folder),
  tokenizer: withMarkers(
    JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8")) as object,
  ),
}));

function row(name: string, template: string, kind: string, found: string): string {
  return `${name.padEnd(11)} ${template.padEnd(8)} ${kind.padEnd(10)} ${found.padStart(6)} `;
}

function cells(errors: Readonly<Record<Method, Errors>>): string {
  const cell = (side: readonly number[]) => {
    const share = (100 * side.filter((blocks) => blocks > 0).length) / side.length;
    const figures = [0.5, 0.99].map((at) => quantile(side, at)).join(" ");
    return `${share.toFixed(1).padStart(5)}% ${figures} ${Math.max(...side)}`.padEnd(15);
  };
  const columns = METHODS.map(
    (method) => `${cell(errors[method].over)} ${cell(errors[method].under)}`,
  );
  return columns.map((column) => `| ${column} `).join("");
}

console.log("Blocks of 16 tokens claimed too many, then too few: pairs with any, p50, p99, max.");
console.log(
  row("tokenizer", "template", "case", "found") + METHODS.map((m) => `| ${m.padEnd(31)} `).join(""),
);
for (const { name, tokenizer } of vocabularies.length > 0 ? vocabularies : smallVocabularies()) {
  const all: Record<Method, Errors> = {
    aligned: { over: [], under: [] },
    anchored: { over: [], under: [] },
    proportional: { over: [], under: [] },
  };
  for (const template of TEMPLATES) {
    const model = new Model(tokenizer, template);
    for (const kind of CASES) {
      if (!template.hasTools && kind.startsWith("tool")) continue;
      const { errors, foundShare } = await evaluate(model, kind, Number(values.pairs));
      for (const method of METHODS) {
        all[method].over.push(...errors[method].over);
        all[method].under.push(...errors[method].under);
      }
      console.log(
        row(name, template.name, kind, `${(100 * foundShare).toFixed(1)}%`) + cells(errors),
      );
    }
  }
  console.log(row(name, "all", "all", "") + cells(all));
}
