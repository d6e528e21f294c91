/**
 * @file The artifact store in an S3-compatible bucket: `s3://bucket/prefix?endpoint=…&region=…`.
 *
 * Credentials come from the environment as Amazon's client finds them (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, a
 * profile), never from the address. With an endpoint the bucket is part of the path, as stores other than Amazon's expect. A
 * large object goes up in parts, which are removed again when one fails.
 */
import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { EspalierError } from "../../lib/errors.ts";
import { download, verified, withSourceFile } from "./digest.ts";
import { isNetworkTrouble, withRetries } from "./retry.ts";
import {
  type ArtifactStore,
  type ByteRange,
  checkDigest,
  notThere,
  type StoredArtifact,
  storeFailure,
} from "./store.ts";

export interface S3StoreOptions {
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string;
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly temporaryDirectory: string;
  /** What is larger goes up in parts of at least this size; S3 takes no part below 5 MiB. */
  readonly partBytes?: number;
  readonly retryWaitsMs?: readonly number[];
}

const maxParts = 10_000;

export async function openS3Store(options: S3StoreOptions): Promise<ArtifactStore> {
  const { bucket, prefix, endpoint, region, temporaryDirectory } = options;
  const { partBytes = 64 << 20, retryWaitsMs = [250, 2000] } = options;
  const s3 = await import("@aws-sdk/client-s3");
  const client = new s3.S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    // Digests are checked here; not every store knows the trailing checksums that the client would add.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  const where = `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`;
  const keyOf = (sha256: string): string =>
    `${prefix === "" ? "" : `${prefix}/`}${checkDigest(sha256).slice(0, 2)}/${sha256}`;

  function failure(thrown: unknown): EspalierError {
    if (thrown instanceof EspalierError) return thrown;
    const status = statusOf(thrown);
    const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    if (status === 401 || status === 403 || /Credentials|AccessDenied|SignatureDoesNotMatch/.test(text))
      return new EspalierError("access/denied", `${where} refuses: ${text}`, {
        hint: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may read and write there.",
        cause: thrown,
      });
    if (thrown instanceof s3.S3ServiceException)
      return new EspalierError("store/io", `${where} answers ${status ?? "an error"}: ${text}`, {
        hint: "Check the bucket, region and endpoint in ARTIFACTS_URL.",
        cause: thrown,
      });
    return storeFailure(thrown, where);
  }

  async function sizeOf(sha256: string): Promise<number | null> {
    try {
      const { ContentLength } = await client.send(new s3.HeadObjectCommand({ Bucket: bucket, Key: keyOf(sha256) }));
      return ContentLength ?? null;
    } catch (thrown) {
      if (statusOf(thrown) === 404) return null;
      throw failure(thrown);
    }
  }

  async function open(sha256: string, range?: ByteRange): Promise<Readable> {
    try {
      const { Body } = await client.send(
        new s3.GetObjectCommand({
          Bucket: bucket,
          Key: keyOf(sha256),
          ...(range ? { Range: `bytes=${range.start}-${range.end}` } : {}),
        }),
      );
      if (Body instanceof Readable) return Body;
      throw new EspalierError("store/io", `${where} answers without a body for ${sha256}`);
    } catch (thrown) {
      if (statusOf(thrown) === 404) throw notThere(sha256, where);
      throw failure(thrown);
    }
  }

  async function putWhole(path: string, { sha256, sizeBytes }: StoredArtifact): Promise<void> {
    await client.send(
      new s3.PutObjectCommand({
        Bucket: bucket,
        Key: keyOf(sha256),
        Body: createReadStream(path),
        ContentLength: sizeBytes,
        ChecksumSHA256: Buffer.from(sha256, "hex").toString("base64"),
      }),
    );
  }

  async function putInParts(path: string, { sha256, sizeBytes }: StoredArtifact): Promise<void> {
    const target = { Bucket: bucket, Key: keyOf(sha256) };
    const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand(target));
    try {
      const step = Math.max(partBytes, Math.ceil(sizeBytes / maxParts));
      const parts: { ETag: string | undefined; PartNumber: number }[] = [];
      for (let start = 0; start < sizeBytes; start += step) {
        const end = Math.min(start + step, sizeBytes) - 1;
        const PartNumber = parts.length + 1;
        const sendPart = () =>
          client.send(
            new s3.UploadPartCommand({
              ...target,
              UploadId,
              PartNumber,
              Body: createReadStream(path, { start, end }),
              ContentLength: end - start + 1,
            }),
          );
        const { ETag } = await withRetries(retryWaitsMs, sendPart, isPassing);
        parts.push({ ETag, PartNumber });
      }
      await client.send(
        new s3.CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts: parts } }),
      );
    } catch (thrown) {
      await client.send(new s3.AbortMultipartUploadCommand({ ...target, UploadId })).catch(() => undefined);
      throw thrown;
    }
  }

  return {
    sizeOf,
    has: async (sha256) => (await sizeOf(sha256)) !== null,

    async put(source) {
      try {
        return await withSourceFile(source, temporaryDirectory, async (path, stored) => {
          const isThere = async (): Promise<boolean> => (await sizeOf(stored.sha256)) === stored.sizeBytes;
          if (await isThere()) return stored;
          if (stored.sizeBytes > partBytes) {
            // Parts carry no digest of the whole, so a file that changed meanwhile must be noticed here.
            const before = await stat(path);
            await putInParts(path, stored);
            const after = await stat(path);
            if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) {
              await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: keyOf(stored.sha256) }));
              throw new EspalierError("store/io", `${path} was changed while it was put into ${where}`);
            }
          } else {
            let tries = 0;
            // A write that seemed to fail may have come through, or another writer's has.
            const put = async (): Promise<void> => {
              if (tries++ === 0 || !(await isThere())) await putWhole(path, stored);
            };
            await withRetries(retryWaitsMs, put, isPassing);
          }
          return stored;
        });
      } catch (thrown) {
        throw failure(thrown);
      }
    },

    async read(sha256, range) {
      const bytes = await open(sha256, range);
      return range ? bytes : verified(bytes, sha256, where);
    },

    async fetchTo(sha256, path, { readOnly } = {}) {
      checkDigest(sha256);
      await withRetries(retryWaitsMs, () => download(() => open(sha256), { sha256, path, where, readOnly }));
    },
  };
}

const isPassing = (thrown: unknown): boolean => isNetworkTrouble(thrown) || (statusOf(thrown) ?? 0) >= 500;

function statusOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error && "$metadata" in thrown)) return undefined;
  const metadata = thrown.$metadata;
  if (typeof metadata !== "object" || metadata === null || !("httpStatusCode" in metadata)) return undefined;
  return typeof metadata.httpStatusCode === "number" ? metadata.httpStatusCode : undefined;
}
