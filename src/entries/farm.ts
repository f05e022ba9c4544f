/** @file `skein/farm`: pools made by recipe, on this machine or by workers on a queue. */

export type { CrewOptions, FarmEvent, FarmedExpert } from "../fleet/crew.ts";
export { type FarmOptions, type FarmResult, runFarm } from "../fleet/farm.ts";
export type { JobKind, JobProgress } from "../fleet/job.ts";
export { type JobProblem, type JobProgram, serveJob } from "../fleet/job-process.ts";
export { cancelJobs, type JobChoice, type JobStatus, jobStatus, retryJobs } from "../fleet/jobs-on-queue.ts";
export { type FarmPlan, type PlannedExpert, type PlanOptions, planFarm } from "../fleet/plan.ts";
export { openQueue, type QueueOptions } from "../fleet/queue/farm-queue.ts";
export { type RecipeOptions, readPoolRecipe } from "../fleet/recipe-file.ts";
export { openRemote } from "../fleet/remote.ts";
export type { Ending } from "../fleet/remote-job.ts";
export { runWorker, type WorkerEvent, type WorkerOptions, type WorkerResult, workerName } from "../fleet/worker.ts";
