// `fairlead config`: check a file, apply it, print what is applied.

import { ADMIN_FLAGS_USAGE } from "../admin-client.ts";
import { UsageError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { apply } from "./apply.ts";
import { check } from "./check.ts";
import { get } from "./get.ts";
import { hub } from "./hub.ts";

const USAGE = `Usage: fairlead config check FILE [--json] [--allow-experimental-plugins]
       fairlead config apply FILE [--if-version N] [flags]
       fairlead config apply FILE --pool NAME [flags]
       fairlead config get [--json] [flags]
       fairlead config hub FILE CLUSTERS --model NAME [--pool NAME] [--region NAME] [--scheme http]

FILE is a deployment's configuration (fairlead.yaml), or one pool's scheduling as llm-d's EPP takes
it (kind EndpointPickerConfig). check lists every mistake in it, or prints the scheduling with
everything filled in that was left open; notes go to stderr. apply gives it to a running deployment,
which uses it within about a second and needs no restart; --pool replaces the scheduling of one pool
and leaves everything else. get prints the configuration in use: secrets are shown as <kept>, and
apply takes <kept> to mean the one that is stored. hub prints the pool that llm-d's hub mode comes to:
FILE is the hub's EndpointPickerConfig, CLUSTERS the file that its multicluster-file-discovery names.

Flags of check
  --allow-experimental-plugins  as a pool that sets allowExperimentalPlugins

Flags of apply
  --require-what-if  first compare by recorded decisions, as \`fairlead what-if\` does, each pool whose
                     scheduling changes; refuse a change for the worse, or one that fewer than 100
                     decisions can judge
  --since TIME       compare decisions of the last 15m, 1h, … (default 1h)
  --allow-few-decisions  apply what too few decisions can judge
  --pool NAME        FILE is an EndpointPickerConfig, for this pool
  --accept-defaults  with --pool: store the default for other pools whose stored scheduling cannot be
                     read, as after an upgrade; without it they are named and nothing is applied
  --if-version N     apply only if version N is the current one

Flags of hub
  --model NAME       what the clusters serve; may be given more than once
  --pool NAME, --region NAME  of the pool (hub, global)
  --scheme http      of requests to the clusters (https); that of their metrics is in FILE

Flags of check and get
  --json             print JSON instead of YAML

Flags of apply and get
${ADMIN_FLAGS_USAGE}`;

export const configCommand: Command = {
  usage: USAGE,
  async run(args) {
    const [action, ...rest] = args;
    if (action === "check") await check(rest);
    else if (action === "apply") await apply(rest);
    else if (action === "get") await get(rest);
    else if (action === "hub") await hub(rest);
    else throw new UsageError(`config takes check, apply, get or hub, not "${action ?? ""}".`);
  },
};
