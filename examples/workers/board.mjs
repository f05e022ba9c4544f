/** @file A farm's jobs in the browser: bull-board over the queue of SKEIN_QUEUE, to look at only.
 *
 *      npm install @bull-board/api @bull-board/express express bullmq ioredis pg
 *      SKEIN_QUEUE=redis://queue:6379 node board.mjs gpu     # and the jobs with the label gpu */

import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import { createPostgresBackend, createRedisBackend, Queue } from "bullmq";
import express from "express";

const address = process.env.SKEIN_QUEUE;
const isRedis = /^rediss?:/.test(address);
const connection = isRedis ? { url: address } : { connectionString: address, migrate: true };
const names = ["skein-farm", ...process.argv.slice(2).map((label) => `skein-farm.${label}`)];
const queues = names.map((name) => new Queue(name, { connection }, isRedis ? createRedisBackend : createPostgresBackend));
const server = new ExpressAdapter();
createBullBoard({ queues: queues.map((queue) => new BullMQAdapter(queue, { readOnlyMode: true })), serverAdapter: server });
express()
  .use("/", server.getRouter())
  .listen(3010, "127.0.0.1", () => console.log("http://127.0.0.1:3010"));
