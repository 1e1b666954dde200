// A thread that runs jobs over regions one after the other.

import { parentPort } from "node:worker_threads";
import { type RegionalJob, runRegionalJob } from "./job.ts";

parentPort!.on("message", (job: RegionalJob) => parentPort!.postMessage(runRegionalJob(job)));
