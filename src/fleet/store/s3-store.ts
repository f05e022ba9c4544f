/** @file A store in a bucket of S3 or of any service with its protocol. Keys come from the environment, as all of Amazon's tools read
 *  them; AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another service. An object appears whole; nothing here needs conditional writes. */

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { S3Client } from "@aws-sdk/client-s3";
import { messageOf, TrainingError } from "../../base/errors.ts";
import { codeOf } from "../../checkpoint/atomic.ts";
import { optionalPackage } from "../optional-package.ts";
import type { Store } from "./store.ts";

const STREAMED = 32 * 2 ** 20; // larger files are not held in memory
const TIMEOUT = { connectionTimeout: 10_000, requestTimeout: 120_000 }; // ms

export type Environment = Readonly<Record<string, string | undefined>>;

/** Opens s3://bucket/prefix. */
export async function openS3Store(address: string, env: Environment = process.env): Promise<Store> {
  const { hostname: bucket, pathname } = new URL(address);
  const root = pathname.replace(/^\/+|\/+$/g, "");
  const place = `s3://${bucket}${root && `/${root}`}`;
  const aws = await optionalPackage(["@aws-sdk/client-s3"], "A store in S3", () => import("@aws-sdk/client-s3"));
  const endpoint = env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
  const client: S3Client = new aws.S3Client({
    region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? "us-east-1",
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
    requestChecksumCalculation: "WHEN_REQUIRED", // other services do not know Amazon's newer checksums
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: TIMEOUT,
  });
  const at = (name: string) => ({ Bucket: bucket, Key: root === "" ? name : `${root}/${name}` });
  const guarded = <T>(work: () => Promise<T>) => guard(place, work);
  const body = async (name: string): Promise<(Readable & { transformToByteArray(): Promise<Uint8Array> }) | undefined> => {
    try {
      return (await client.send(new aws.GetObjectCommand(at(name)))).Body as Readable & { transformToByteArray(): Promise<Uint8Array> };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  };
  const names = async (prefix: string): Promise<string[]> => {
    const found: string[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(
        new aws.ListObjectsV2Command({ Bucket: bucket, Prefix: at(prefix).Key, ...(token && { ContinuationToken: token }) }),
      );
      for (const { Key = "" } of page.Contents ?? []) found.push(root === "" ? Key : Key.slice(root.length + 1));
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return found;
  };
  return {
    place,
    get: (name) => guarded(async () => (await body(name))?.transformToByteArray()),
    put: (name, content) => guarded(async () => void (await client.send(new aws.PutObjectCommand({ ...at(name), Body: content })))),
    getFile: (name, path) =>
      guarded(async () => {
        const stream = await body(name);
        if (!stream) return false;
        await mkdir(dirname(path), { recursive: true });
        await pipeline(stream, createWriteStream(path));
        return true;
      }),
    putFile: (name, path) =>
      guarded(async () => {
        const { size } = await stat(path);
        const content = size > STREAMED ? createReadStream(path) : await readFile(path);
        await client.send(new aws.PutObjectCommand({ ...at(name), Body: content, ContentLength: size }));
      }),
    has: (name) =>
      guarded(async () => {
        try {
          await client.send(new aws.HeadObjectCommand(at(name)));
          return true;
        } catch (error) {
          if (isAbsent(error)) return false;
          throw error;
        }
      }),
    remove: (name) => guarded(async () => void (await client.send(new aws.DeleteObjectCommand(at(name))))),
    list: (prefix) => guarded(() => names(prefix)),
    close: () => client.destroy(),
  };
}

interface Answer {
  readonly name: string;
  readonly status: number | undefined;
}

function answerOf(error: unknown): Answer {
  const { name = "", $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  return { name, status: $metadata?.httpStatusCode };
}

function isAbsent(error: unknown): boolean {
  const { name, status } = answerOf(error);
  return name === "NoSuchKey" || (name !== "NoSuchBucket" && status === 404);
}

const FULL = /QuotaExceeded|StorageFull|InsufficientStorage|EntityTooLarge/i;
const KEYS =
  /InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|ExpiredToken|InvalidToken|CredentialsProviderError|Forbidden|TokenRefreshRequired/;
const NETWORK = /^(ECONN|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|EPIPE|EHOSTUNREACH|ENETUNREACH)/;

async function guard<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { name, status = 0 } = answerOf(error);
    const said = messageOf(error);
    const common = { where: place, cause: new Error(`${name}: ${said}`) }; // the client's own error holds the signed request
    if (FULL.test(name) || status === 507) {
      throw new TrainingError({
        ...common,
        code: "store-full",
        what: `The store has no space left: ${name}.`,
        fix: "Free some space there.",
      });
    }
    if (KEYS.test(name) || status === 401 || status === 403) {
      const fix = "Put valid keys with rights to read and write there into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.";
      throw new TrainingError({ ...common, code: "store-refused", what: `The store refuses these credentials: ${name}.`, fix });
    }
    if (name === "NoSuchBucket" || status === 301) {
      const fix = "Make the bucket first, or correct its name and AWS_REGION.";
      throw new TrainingError({ ...common, code: "store-refused", what: "There is no such bucket in this region.", fix });
    }
    if (status >= 500 || status === 429 || NETWORK.test(codeOf(error)) || /Timeout|Networking|socket hang up/i.test(`${name} ${said}`)) {
      const fix = "Check the network and AWS_ENDPOINT_URL_S3.";
      throw new TrainingError({ ...common, code: "store-unreachable", what: `The store does not answer: ${said}.`, fix });
    }
    throw error;
  }
}
