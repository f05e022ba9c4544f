/** @file Access to the hub with the variables of Python's tools (HF_ENDPOINT, HF_TOKEN), and the errors when a download fails.
 *
 *  @huggingface/hub itself reads none of these variables. */

import { HubApiError } from "@huggingface/hub";
import type { HUB_CODES } from "../base/error-codes.ts";
import { CheckpointError, DataError, messageOf, type Problem, UserError } from "../base/errors.ts";
import { asWriteProblem } from "../checkpoint/atomic.ts";
import { accessToken, type Environment, type HubRepository, repositoryCache } from "./cache.ts";

/** How to reach the hub. A missing field means @huggingface/hub's default. */
export interface HubAccess {
  readonly hubUrl?: string;
  readonly accessToken?: string;
  readonly fetch?: typeof fetch;
}

/** The hub's address and the access token. */
export async function hubAccess(env: Environment, fetch: typeof globalThis.fetch | undefined): Promise<HubAccess> {
  const token = await accessToken(env);
  if (token !== undefined && !token.startsWith("hf_")) {
    throw new CheckpointError({
      code: "hub-bad-token",
      what: "The access token does not start with hf_.",
      where: env.HF_TOKEN === undefined ? "the token file of Hugging Face" : "HF_TOKEN",
      fix: "Copy a token from https://huggingface.co/settings/tokens, or unset it: public models and datasets need none.",
    });
  }
  return {
    ...(env.HF_ENDPOINT ? { hubUrl: env.HF_ENDPOINT.replace(/\/+$/, "") } : {}),
    ...(token === undefined ? {} : { accessToken: token }),
    ...(fetch ? { fetch } : {}),
  };
}

/** A CheckpointError for a model, a DataError for a dataset. */
export function repositoryProblem(repository: HubRepository, { status, ...problem }: HubProblem): UserError {
  const { type, name, revision } = repository;
  const Kind = type === "model" ? CheckpointError : DataError;
  return new Kind({ ...problem, where: placeOf(repository), data: { repository: name, revision, ...(status && { status }) } });
}

/** How a repository is named in errors. */
export function placeOf({ type, name, revision }: HubRepository): string {
  return `${type === "model" ? "" : "datasets/"}${name}@${revision}`;
}

interface HubProblem extends Pick<Problem, "what" | "fix" | "cause"> {
  readonly code: keyof typeof HUB_CODES;
  readonly status?: number;
}

/** The error when the files are not in the cache and the network is off or fails. */
export function notCached(repository: HubRepository, why: string, fix: string, cause?: unknown): UserError {
  const what = `The ${repository.type} is not in the cache, and ${why}.`;
  return repositoryProblem(repository, { code: "hub-not-cached", what, fix: `${fix}, or give the folder of a local copy.`, cause });
}

/** The error when the files are not in the cache and HF_HUB_OFFLINE is set. */
export function notCachedOffline(repository: HubRepository): UserError {
  return notCached(repository, "HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE to download it");
}

/** The error of a failed request: a UserError unchanged, else the hub's refusal, else a failure of the network. */
export function hubFailure(repository: HubRepository, env: Environment, error: unknown): { isFinal: boolean; problem: UserError } {
  const problem = asWriteProblem(error, repositoryCache(repository, env));
  if (problem instanceof UserError) return { isFinal: true, problem };
  if (error instanceof HubApiError && error.statusCode < 500) return { isFinal: true, problem: refused(repository, error) };
  const why = `fetching it from ${env.HF_ENDPOINT || "https://huggingface.co"} failed: ${messageOf(error)}`;
  const fix = "Check the network and try again: it goes on where it stopped";
  return { isFinal: false, problem: notCached(repository, why, fix, error) };
}

function refused(repository: HubRepository, error: HubApiError): UserError {
  const { type, name } = repository;
  const page = `https://huggingface.co/${type === "model" ? "" : "datasets/"}${name}`;
  const [code, what, fix] =
    error.statusCode === 401 || error.statusCode === 403
      ? [
          "hub-forbidden" as const,
          `The hub does not give out this ${type}: it is gated or private, or its name is wrong.`,
          `Check the name at ${page}; if it asks you to accept terms, do, then set HF_TOKEN to a token of your account.`,
        ]
      : error.statusCode === 404
        ? [
            "hub-not-found" as const,
            `The hub knows no such ${type} or revision.`,
            `Check the name at ${page} and the revision among its branches and tags.`,
          ]
        : [
            "hub-refused" as const,
            "The hub refused the request.",
            error.statusCode === 429 ? "Too many requests: wait some minutes, or set HF_TOKEN." : "See the message above.",
          ];
  return repositoryProblem(repository, {
    code,
    status: error.statusCode,
    what: `${what} (HTTP ${error.statusCode}: ${error.message})`,
    fix,
    cause: error,
  });
}
