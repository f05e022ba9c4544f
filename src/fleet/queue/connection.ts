/** @file The server behind a queue's address: Redis or PostgreSQL. Before anything starts it is asked once whether it answers, lets this
 *  user in, and has about the same time as this machine. */

import type { BackendFactory, ConnectionOptions, PostgresConnectionOptions, RedisQueueBackend } from "bullmq";
import { messageOf, OptionError, TrainingError } from "../../base/errors.ts";
import { codeOf } from "../../checkpoint/atomic.ts";
import { maskedAddress, maskedMessage } from "../masked.ts";
import { optionalPackage } from "../optional-package.ts";

/** What BullMQ's constructors need to reach the server. */
export interface QueueServer {
  readonly place: string;
  readonly bull: typeof import("bullmq");
  readonly options: { readonly connection: ConnectionOptions };
  readonly backend: BackendFactory<RedisQueueBackend>;
}

const TIMEOUT = 10_000; // ms that a server may take to answer at the start
const POOL = 4; // connections to PostgreSQL a queue

/** Finds the server of redis://..., rediss://..., postgres://... or postgresql://...
 *  @throws TrainingError when it does not answer, or refuses the user. */
export async function queueServer(address: string): Promise<QueueServer> {
  const scheme = URL.canParse(address) ? new URL(address).protocol.slice(0, -1) : "";
  if (/^rediss?$/.test(scheme)) return redisServer(address);
  if (/^postgres(ql)?$/.test(scheme)) return postgresServer(address);
  throw new OptionError({
    code: "option-invalid",
    data: { option: "queue" },
    what: `This is no queue: ${maskedAddress(address)}`,
    where: "queue",
    fix: "Write redis://host:6379 or postgres://user@host/database.",
  });
}

async function redisServer(address: string): Promise<QueueServer> {
  const [bull, { Redis }] = await optionalPackage(["bullmq", "ioredis"], "A queue on Redis", async () =>
    Promise.all([import("bullmq"), import("ioredis")]),
  );
  const probe = new Redis(address, { lazyConnect: true, connectTimeout: TIMEOUT, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  let reason: unknown;
  probe.on("error", (error) => {
    reason = error;
  });
  try {
    await probe.connect();
    await probe.ping();
  } catch (error) {
    throw serverProblem(reason ?? error, address);
  } finally {
    probe.disconnect();
  }
  // Commands wait while the server is away, and the connection is tried again for ever.
  const connection = {
    ...redisOptions(address),
    maxRetriesPerRequest: null,
    retryStrategy: (times: number) => Math.min(200 * times, 2000),
  };
  return { place: maskedAddress(address), bull, options: { connection }, backend: bull.createRedisBackend };
}

function redisOptions(address: string) {
  const { hostname, port, username, password, pathname, protocol } = new URL(address);
  const db = Number(pathname.slice(1) || 0);
  return {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port || 6379),
    ...(username !== "" && { username: decodeURIComponent(username) }),
    ...(password !== "" && { password: decodeURIComponent(password) }),
    ...(db > 0 && { db }),
    ...(protocol === "rediss:" && { tls: {} }),
  };
}

async function postgresServer(address: string): Promise<QueueServer> {
  const [bull, { default: pg }] = await optionalPackage(["bullmq", "pg"], "A queue on PostgreSQL", async () =>
    Promise.all([import("bullmq"), import("pg")]),
  );
  const probe = new pg.Client({ connectionString: address, connectionTimeoutMillis: TIMEOUT });
  probe.on("error", () => undefined); // the query below reports it
  try {
    await probe.connect();
    const { rows } = await probe.query<{ now: number }>("select extract(epoch from clock_timestamp())::float8 as now");
    checkClock(rows[0]!.now * 1000 - Date.now(), address);
  } catch (error) {
    throw error instanceof TrainingError ? error : serverProblem(error, address);
  } finally {
    await probe.end().catch(() => undefined); // it never began
  }
  const connection: PostgresConnectionOptions = { connectionString: address, migrate: true, max: POOL, connectionTimeoutMillis: TIMEOUT };
  // BullMQ's types name one backend for a queue; here both are used through what they have in common.
  const [options, backend] = [{ connection }, bull.createPostgresBackend] as unknown as [QueueServer["options"], QueueServer["backend"]];
  return { place: maskedAddress(address), bull, options, backend };
}

const MOST_SKEW = 5000; // ms

/** On PostgreSQL the locks of jobs end by the clocks of workers: one that is ahead would take the jobs of all others from them. */
function checkClock(ahead: number, address: string): void {
  if (Math.abs(ahead) <= MOST_SKEW) return;
  throw new TrainingError({
    code: "worker-clock",
    data: { got: Math.round(ahead / 1000) },
    what: `This machine's clock is ${Math.round(Math.abs(ahead) / 1000)} s ${ahead > 0 ? "behind" : "ahead of"} the queue's server.`,
    where: maskedAddress(address),
    fix: "Set the clock of this machine (NTP), then start again.",
  });
}

const REFUSALS = ["28P01", "28000", "3D000", "42501"]; // PostgreSQL: password, user, database, rights

function serverProblem(error: unknown, address: string): TrainingError {
  const said = maskedMessage(messageOf(error) || codeOf(error), address);
  const isRefused = /WRONGPASS|NOAUTH|NOPERM|invalid password|invalid username/i.test(said) || REFUSALS.includes(codeOf(error));
  return isRefused
    ? new TrainingError({
        code: "queue-refused",
        what: `The queue's server refuses to let us in: ${said}.`,
        where: maskedAddress(address),
        fix: "Correct the user, the password and the database in the queue's address.",
      })
    : new TrainingError({
        code: "queue-unreachable",
        what: `The queue's server does not answer: ${said}.`,
        where: maskedAddress(address),
        fix: "Start the server, or correct the queue's address.",
      });
}
