// The command line of `fairlead chaos`.

import { durationFlag } from "../duration.ts";
import { UsageError } from "../cli-error.ts";
import { numberFlag, parseFlags, positionals } from "../flags.ts";
import { STATE_DIR_DEFAULT } from "../up/state-dir.ts";
import {
  ACTIONS,
  type Action,
  CUT_MODES,
  type CutMode,
  parseTarget,
  type Target,
} from "./targets.ts";

const RATE_DEFAULT = 100;
const RATE_MAX = 2_000;
const STREAMS_DEFAULT = 0.5;
const FOR_DEFAULT = "5s";
const DURATION_DEFAULT = "30s";
const SLOW_MS_DEFAULT = 1_000;
const SLOW_MS_MAX = 60_000;
/** Before it acts, there is something to compare with; this is enough. */
const BEFORE_MS_MAX = 5_000;

export interface ChaosOptions {
  readonly action: Action;
  readonly target: Target;
  /** As it was written. */
  readonly targetText: string;
  readonly mode: CutMode;
  readonly slowMs: number;
  /** null: it stays. */
  readonly forMs: number | null;
  /** Of the traffic: in all, and before anything happens. */
  readonly durationMs: number;
  readonly beforeMs: number;
  readonly ratePerS: number;
  /** Share of requests. */
  readonly streams: number;
  readonly stateDir: string;
  readonly isJson: boolean;
}

export const CHAOS_USAGE = `Usage: fairlead chaos ACTION TARGET [flags]

Disturbs a part of what \`fairlead up --clusters N\` runs here, while real clients send requests to it, and
prints what they saw. Status 0: no request failed before its first byte, and each answer that was lost
later ended with an event that says so; 1: some did not, or there was no request; 2: it could not be tried.

Actions
  kill     SIGKILL all processes of the target; they are started again after --for
  cut      part the target from the rest, with --mode
  slow     put the target --rtt away
  drain    tell the Worker to send a cluster no new requests, or a relay to stop (SIGTERM)
  undrain  take such a word back

Targets
  cluster-N            the whole cluster
  agents:cluster-N     what it tells the Worker of itself, or who does
  requests:cluster-N   the way that requests take to it
  relays:cluster-N     its relay
  engines:cluster-N    its engines
  object:cluster-N     its pool's object
  directory            the object with the configuration, for all clusters

Flags
  --for TIME       how long it lasts (default ${FOR_DEFAULT})
  --stay           no second half: it lasts until the same is told again with --for, a drain until
                   undrain, engines that are cut off until they are killed, and none but drains and
                   kills longer than ten minutes
  --mode MODE      of a cut: ${CUT_MODES.join(", ")} (default refuse)
  --rtt MS         of slow (default ${SLOW_MS_DEFAULT})
  --rate N         requests in a second (default ${RATE_DEFAULT})
  --streams SHARE  of them, event streams; the others are answered as JSON (default ${STREAMS_DEFAULT})
  --duration TIME  of the whole: before, meanwhile and afterwards (default ${DURATION_DEFAULT})
  --json           one JSON object a second, and the report as the last one
  --state-dir DIR  where \`fairlead up\` keeps its state (default ${STATE_DIR_DEFAULT})
`;

const FLAGS = {
  for: { type: "string", default: FOR_DEFAULT },
  stay: { type: "boolean", default: false },
  mode: { type: "string", default: "refuse" },
  rtt: { type: "string" },
  rate: { type: "string" },
  streams: { type: "string" },
  duration: { type: "string", default: DURATION_DEFAULT },
  json: { type: "boolean", default: false },
  "state-dir": { type: "string", default: STATE_DIR_DEFAULT },
} as const;

/** Throws UsageError for what is wrong or does not go together. */
export function parseChaosOptions(args: string[]): ChaosOptions {
  const { values, positionals: given } = parseFlags(args, FLAGS);
  const [actionText, targetText] = positionals(given, ["ACTION", "TARGET"]) as [string, string];
  const action = oneOf("ACTION", actionText, ACTIONS);
  const target = parseTarget(targetText);
  const mode = oneOf("--mode", values.mode, CUT_MODES);
  const durationMs = 1_000 * durationFlag("duration", values.duration);
  // Of undrain there is nothing to take back.
  const forMs =
    values.stay || action === "undrain" ? null : 1_000 * durationFlag("for", values.for);
  if (durationMs < (forMs ?? 0) + 2_000)
    throw new UsageError("--duration must be at least two seconds longer than --for.");
  return {
    action,
    target,
    targetText,
    mode,
    slowMs: numberFlag("rtt", values.rtt, { min: 0, max: SLOW_MS_MAX }, SLOW_MS_DEFAULT),
    forMs,
    durationMs,
    beforeMs: Math.min(BEFORE_MS_MAX, (durationMs - (forMs ?? 0)) / 3),
    ratePerS: numberFlag("rate", values.rate, { min: 1, max: RATE_MAX }, RATE_DEFAULT),
    streams: numberFlag("streams", values.streams, { min: 0, max: 1 }, STREAMS_DEFAULT),
    stateDir: values["state-dir"],
    isJson: values.json,
  };
}

function oneOf<const T extends string>(what: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === text);
  if (choice === undefined)
    throw new UsageError(`${what} is one of ${choices.join(", ")}, not "${text}".`);
  return choice;
}
