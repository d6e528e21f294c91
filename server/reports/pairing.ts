/**
 * @file Pairing: permission for one phone to send one report on one package, for a few minutes.
 *
 * The QR code holds an address and a token of 128 bits; next to it is a code short enough to type. Either works once.
 * Only their hashes are kept. Wrong ones are counted, so that the short code cannot be guessed: 29⁸ codes, at most
 * `MAX_FAILURES` tries while one lives.
 */
import { createHash, randomBytes, randomInt } from "node:crypto";
import { and, eq, gt, isNull, lt, or } from "drizzle-orm";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import type { Db } from "../db/database.ts";
import { pairings } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { getPackage } from "../packages/packages.ts";

export type Pairing = typeof pairings.$inferSelect;

export const PAIRING_MS = 5 * 60_000;
/** Rows of pairings that ran out are kept so long, to say why they are refused. */
const KEPT_MS = 24 * 3_600_000;
export const MAX_FAILURES = 50;

// Without what is read for something else: 0 O, 1 I L, U V.
const alphabet = "23456789ABCDEFGHJKMNPQRSTWXYZ";

export interface NewPairing {
  readonly id: string;
  readonly token: string;
  /** `K7QF-2MXA`, for typing. */
  readonly code: string;
  readonly expiresAt: Date;
}

/** Throws `input/invalid` for a package that is not there. */
export async function createPairing(core: Core, packageId: string): Promise<NewPairing> {
  await getPackage(core, packageId);
  const now = core.clock.nowMs();
  await core.db.delete(pairings).where(lt(pairings.expiresAt, new Date(now - KEPT_MS)));
  const token = randomBytes(16).toString("base64url");
  const letters = Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]).join("");
  const code = `${letters.slice(0, 4)}-${letters.slice(4)}`;
  const expiresAt = new Date(now + PAIRING_MS);
  const id = newId("pair");
  await core.db
    .insert(pairings)
    .values({ id, packageId, tokenHash: hashOf(token), codeHash: hashOf(plainCode(code)), expiresAt });
  return { id, token, code, expiresAt };
}

/** The pairing a token or a typed code belongs to, used or not. Throws `access/denied` for an unknown or expired one. */
export async function findPairing(core: Core, secret: string): Promise<Pairing> {
  const [row] = await core.db
    .select()
    .from(pairings)
    .where(or(eq(pairings.tokenHash, hashOf(secret)), eq(pairings.codeHash, hashOf(plainCode(secret)))));
  if (!row)
    throw new EspalierError("access/denied", "this pairing code is not known here", {
      hint: "Scan the code that the page of the package shows now.",
    });
  if (row.expiresAt.getTime() <= core.clock.nowMs() && row.usedAt === null)
    throw new EspalierError("access/denied", "this pairing code has expired", {
      hint: "Open the page of the package again for a new one; a code is valid for five minutes.",
    });
  return row;
}

/** Takes the one use of it. Throws `access/denied` when it is gone, also when another request was faster. */
export async function usePairing(db: Db, id: string, reportId: string, now: Date): Promise<void> {
  const taken = await db
    .update(pairings)
    .set({ usedAt: now, reportId })
    .where(and(eq(pairings.id, id), isNull(pairings.usedAt), gt(pairings.expiresAt, now)))
    .returning({ id: pairings.id });
  if (taken.length === 0) throw alreadyUsed();
}

export const alreadyUsed = (): EspalierError =>
  new EspalierError("access/denied", "this pairing code has already been used", {
    hint: "A code is valid for one report; ask for a new one.",
  });

const plainCode = (text: string): string => text.toUpperCase().replaceAll(/[^0-9A-Z]/g, "");

const hashOf = (text: string): string => createHash("sha256").update(`espalier pairing ${text}`).digest("hex");
