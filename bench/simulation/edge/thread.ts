// A thread that runs jobs at the edge one after the other.

import { parentPort } from "node:worker_threads";
import { type EdgeJob, runEdgeJob } from "./job.ts";

parentPort!.on("message", (job: EdgeJob) => parentPort!.postMessage(runEdgeJob(job)));
