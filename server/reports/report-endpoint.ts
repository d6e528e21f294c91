/**
 * @file Where a phone sends its report: `POST /api/reports`, with the secret of a pairing as bearer.
 *
 * A phone has neither the cookie nor the token of the server, so this lies before the guard and lets in nobody but the holder of
 * a pairing; pages of a browser, which say their origin, are refused. 201 for a new report, 200 for one that is here already;
 * errors are JSON, `{error: {code, message, hint}}`, for the app to show. Wrong secrets are counted and then refused for a while.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { toEspalierError } from "../../lib/errors.ts";
import { MAX_REPORT_BYTES } from "../../lib/report/report.ts";
import { type AccessPolicy, checkRequest } from "../access/access.ts";
import { answerJson, statusOf } from "../access/answer.ts";
import { readBody } from "../access/limits.ts";
import type { Core } from "../core.ts";
import { MAX_FAILURES, PAIRING_MS } from "./pairing.ts";
import { receiveReport } from "./reports.ts";

export const REPORT_PATH = "/api/reports";

/** True when the request was one for this, which then is answered. */
export type ReportEndpoint = (
  request: IncomingMessage,
  response: ServerResponse,
  policy: AccessPolicy,
) => Promise<boolean>;

export function reportEndpoint(core: Core): ReportEndpoint {
  /** When wrong secrets came, in the clock's milliseconds. */
  let failures: number[] = [];
  return async (request, response, policy) => {
    if (request.url?.split("?")[0] !== REPORT_PATH) return false;
    const refuse = (status: number, code: string, message: string, hint: string): true => {
      answerJson(request, response, status, { error: { code, message, hint } });
      return true;
    };
    // Known by name, and not from a page elsewhere: as for everybody, only without the server's token.
    const verdict = checkRequest(request, { ...policy, token: null });
    if (!verdict.allowed)
      return refuse(verdict.status, "access/denied", verdict.reason, "Use the address of the QR code.");
    if (request.method !== "POST")
      return refuse(
        405,
        "input/invalid",
        "this address accepts only reports sent with POST",
        "Send it with POST, as application/json.",
      );
    if (request.headers.origin !== undefined || request.headers["sec-fetch-site"] !== undefined)
      return refuse(403, "access/denied", "reports are not accepted from web pages", "Import the report as a file.");
    const secret = /^Bearer +(\S{4,100}) *$/i.exec(request.headers.authorization ?? "")?.[1];
    if (secret === undefined)
      return refuse(
        401,
        "access/denied",
        "a report needs the code of a pairing",
        "Scan the code on the package's page.",
      );
    const now = core.clock.nowMs();
    failures = failures.filter((at) => now - at < PAIRING_MS);
    if (failures.length >= MAX_FAILURES)
      return refuse(429, "access/denied", "too many wrong codes were sent", "Wait five minutes, then scan a new code.");
    try {
      const { report, packages, isNew } = await receiveReport(core, secret, () => readBody(request, MAX_REPORT_BYTES));
      answerJson(request, response, isNew ? 201 : 200, {
        id: report.id,
        package: packages[0]?.name ?? "",
        passed: report.passed,
      });
    } catch (thrown) {
      const error = toEspalierError(thrown);
      if (error.code === "access/denied") failures.push(now);
      const status = error.code === "format/unsupported" ? 400 : statusOf(error);
      const isInner = status === 500;
      answerJson(request, response, status, {
        error: {
          code: isInner ? "internal/invariant" : error.code,
          message: isInner ? "the server failed to take the report; its log says why" : error.message,
          hint: isInner ? null : (error.hint ?? null),
        },
      });
    }
    return true;
  };
}
