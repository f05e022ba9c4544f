/** @file An S3 service in this process (s3rver), which can be told to fail. Its only user is S3RVER with the key S3RVER. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import S3rver from "@20minutes/s3rver";

export interface FakeS3 extends AsyncDisposable {
  readonly endpoint: string;
  /** Requests are answered with this status and code until it is undefined again; "cut" ends their connections. */
  fault: { readonly status: number; readonly code: string; readonly method?: string } | "cut" | undefined;
}

/** Starts the service with one bucket. */
export async function fakeS3(directory: string, bucket: string): Promise<FakeS3> {
  const s3 = new S3rver({ directory, silent: true, configureBuckets: [{ name: bucket }] });
  await s3.configureBuckets();
  const handler = s3.callback();
  // s3rver signs the path of a bucket without the last slash, Amazon's client with it: its signatures never agree for listings.
  const listings = new S3rver({ directory, silent: true, allowMismatchedSignatures: true }).callback();
  const server = createServer((request, response) => {
    const { fault } = fake;
    if (fault === "cut") request.socket.destroy();
    else if (fault && (fault.method === undefined || fault.method === request.method)) {
      request.resume();
      response.writeHead(fault.status, { "content-type": "application/xml" });
      response.end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${fault.code}</Code><Message>made to fail</Message></Error>`);
    } else (request.url?.startsWith(`/${bucket}/?`) ? listings : handler)(request, response);
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const fake: FakeS3 = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
  return fake;
}
