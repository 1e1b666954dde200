// Whether a packed record that came from elsewhere can be read: its parts end where it ends, and all that it names by
// an index is there. What its numbers say is not looked at: they are shown, and nothing follows from them.

import { resolveProfile, specsOfKind } from "../config/resolve.ts";
import { SCHEDULER_LIMITS } from "../config/limits.ts";
import { DESTINATIONS_MAX } from "../endpoint-picker.ts";
import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import { SCORE_TERMS_MAX, VERDICTS_MAX } from "../plugin.ts";
import {
  type FLOAT_FIELDS,
  HEADER_WORDS,
  type INT_FIELDS,
  isPackedAdapters,
  NOTHING,
} from "./layout.ts";
import type { RecordSource } from "./reader.ts";
import { DECISION_LIMITS, STAGE_ROLES } from "./record.ts";
import { NOT_THERE, SPARED } from "./rows.ts";
import { type Header, type Headers, IntCursor, readHeaders, stretchesOf } from "./stretches.ts";
import { STAGES } from "./verdicts.ts";

/** How many there are of what a record names by an index. */
export interface NameCounts {
  readonly texts: number;
  readonly endpoints: number;
}

/** Whether the record at the beginning of `source` is sound, and all of it. */
export function isSoundRecord(source: RecordSource, names: NameCounts): boolean {
  if (source.floats.length < HEADER_WORDS) return false;
  const headers = readHeaders(source, 0, SCHEDULER_LIMITS.profilesMax);
  return (
    isSoundHeader(headers.header, names) &&
    areSoundRuns(source, headers) &&
    areSoundRows(source, headers, names) &&
    isSoundTail(source, headers, names)
  );
}

/** Also of what is not there. */
function isIn(value: number | undefined, least: number, most: number): boolean {
  return Number.isInteger(value) && value! >= least && value! <= most;
}

const FINITE = [
  "atMs",
  "staleAfterMs",
  "seed",
  "configVersion",
  "priority",
  "promptTokens",
  "bodyBytes",
] as const satisfies (typeof FLOAT_FIELDS)[number][];
const TEXTS = ["model", "tenant"] as const satisfies (typeof INT_FIELDS)[number][];
const TEXTS_OR_NONE = [
  "dropReason",
  "dropDetail",
  "shadowReason",
  "queueFairnessId",
] as const satisfies (typeof INT_FIELDS)[number][];
const ENDPOINTS_OR_NONE = ["shadowEndpoint", "kvSource"] as const;

function isSoundHeader(header: Header, { texts, endpoints }: NameCounts): boolean {
  const { rowCount } = header;
  return (
    FINITE.every((name) => Number.isFinite(header[name])) &&
    header.attempt >= 0 &&
    isIn(header.totalBlocks, 0, CONTENT_KEYS_MAX) &&
    isIn(header.keyCount, 0, DECISION_LIMITS.keysMax) &&
    header.keyStride >= 1 &&
    isIn(rowCount, 1, DECISION_LIMITS.candidatesMax) &&
    isIn(header.candidateCount, rowCount, ENDPOINTS_MAX) &&
    isIn(header.runCount, 0, SCHEDULER_LIMITS.profilesMax) &&
    isIn(header.excludedCount, 0, DECISION_LIMITS.excludedMax) &&
    isIn(header.verdictCount, 0, VERDICTS_MAX) &&
    isIn(header.isTiered, 0, 1) &&
    isIn(header.hasAdapters, 0, 1) &&
    TEXTS.every((name) => isIn(header[name], 0, texts - 1)) &&
    TEXTS_OR_NONE.every((name) => isIn(header[name], NOTHING, texts - 1)) &&
    ENDPOINTS_OR_NONE.every((name) => isIn(header[name], NOTHING, endpoints - 1)) &&
    // How it went is told apart.
    header.resultOutcome === NOTHING
  );
}

function areSoundRuns({ scheduler }: RecordSource, { header, runHeaders }: Headers): boolean {
  const profiles = scheduler.schedulingProfiles;
  let scorerCount = 0;
  let termCount = 0;
  for (const run of runHeaders) {
    if (!isIn(run.profile, 0, profiles.length - 1)) return false;
    const { filters, scorers } = resolveProfile(scheduler, profiles[run.profile]!.name);
    const isSound =
      isIn(run.role, 0, STAGE_ROLES.length - 1) &&
      isIn(run.filterCount, 0, filters.length) &&
      isIn(run.scorerCount, 0, scorers.length) &&
      isIn(run.termCount, 0, DECISION_LIMITS.termsMax) &&
      isIn(run.chosenCount, 0, Math.min(DESTINATIONS_MAX, header.rowCount));
    if (!isSound) return false;
    scorerCount += run.scorerCount;
    termCount += run.termCount;
  }
  return scorerCount <= DECISION_LIMITS.scoresMax && termCount <= DECISION_LIMITS.termsMax;
}

function areSoundRows(source: RecordSource, headers: Headers, { endpoints }: NameCounts): boolean {
  const { ints, scheduler } = source;
  const { header, runHeaders } = headers;
  const { rowCount } = header;
  const { plainAt, adaptersAt, removedByOf } = stretchesOf(headers);
  const screeners = specsOfKind(scheduler, "screener").length;
  for (let row = 0; row < rowCount; row++) {
    const int = (stretch: number) => ints[plainAt + stretch * rowCount + row];
    const isSound =
      isIn(int(0), 0, ENDPOINTS_MAX - 1) &&
      isIn(int(1), 0, endpoints - 1) &&
      isIn(int(3), SPARED, screeners - 1) &&
      (header.hasAdapters === 0 || isPackedAdapters(ints[adaptersAt + row])) &&
      runHeaders.every((run, r) =>
        isIn(ints[removedByOf[r]! + row], NOT_THERE, run.filterCount - 1),
      );
    if (!isSound) return false;
  }
  return true;
}

/** What follows the rows ends where the record does. */
function isSoundTail(source: RecordSource, headers: Headers, names: NameCounts): boolean {
  const { header, runHeaders } = headers;
  const cursor = new IntCursor(source.ints, stretchesOf(headers).tailAt);
  const texts = names.texts - 1;
  const areIn = (count: number, most: number): boolean =>
    Array.from({ length: count }, () => cursor.next()).every((value) => isIn(value, 0, most));
  for (const { filterCount, scorerCount, termCount, chosenCount } of runHeaders) {
    cursor.at += filterCount;
    for (let t = 0; t < termCount; t++)
      if (!isIn(cursor.next(), 0, scorerCount - 1) || !isIn(cursor.next(), 0, texts)) return false;
    if (!areIn(chosenCount, header.rowCount - 1)) return false;
  }
  for (let v = 0; v < header.verdictCount; v++) {
    if (!isIn(cursor.next(), 0, STAGES.length - 1) || !isIn(cursor.next(), 0, 1)) return false;
    const termCount = cursor.next();
    if (!isIn(termCount, 0, SCORE_TERMS_MAX)) return false;
    for (let t = 0; t < termCount; t++, cursor.at++)
      if (!isIn(cursor.next(), 0, texts)) return false;
  }
  if (!areIn(header.excludedCount, names.endpoints - 1)) return false;
  return Math.ceil((cursor.at + 2 * header.keyCount) / 2) === source.floats.length;
}
