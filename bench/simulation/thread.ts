// A thread that runs jobs one after the other.

import { parentPort, workerData } from "node:worker_threads";
import { type Job, runJob } from "./job.ts";
import { findWorkloads } from "./workloads.ts";

const { traceFile } = workerData as { readonly traceFile: string | undefined };
const workloads = findWorkloads(traceFile);

parentPort!.on("message", (job: Job) => parentPort!.postMessage(runJob(job, workloads)));
