/**
 * @file Keeps secrets out of log lines: the values this process was given, and whatever looks like one.
 *
 * Known values are replaced wherever they stand, also percent-encoded. Unknown ones by their surroundings: a password in an
 * address, a bearer, a cookie, `token=`, `password=`, `secret=`, Amazon's key ids and signatures.
 */

const hidden = "[hidden]";
/** Shorter values would blacken ordinary words. */
const minLength = 6;

const patterns: readonly [RegExp, string][] = [
  // scheme://user:password@host
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/]*@(?=[^\s/@])/gi, `$1:${hidden}@`],
  [/\b(bearer|basic)\s+[\w.~+/=-]{4,}/gi, `$1 ${hidden}`],
  [/\b((?:set-)?cookie["']?\s*[:=]\s*["']?)[^\r\n"']+/gi, `$1${hidden}`],
  [/\b(espalier[-_][\w]+=)[^\s;,"']+/gi, `$1${hidden}`],
  [
    /((?:token|password|passwd|pwd|secret|secret_?access_?key|api_?key)["']?\s*[=:]\s*["']?)[^\s&;,"']+/gi,
    `$1${hidden}`,
  ],
  [/\b(x-amz-(?:signature|credential|security-token)=)[^\s&"']+/gi, `$1${hidden}`],
  [/\b(signature=)[0-9a-f]{16,}/gi, `$1${hidden}`],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b/g, hidden],
];

/** The secrets in an environment: tokens, keys, and passwords in addresses. */
export function secretsOf(env: Readonly<Record<string, string | undefined>>): string[] {
  const found: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!value) continue;
    if (/(TOKEN|SECRET|PASSWORD|API_?KEY|ACCESS_KEY)/i.test(name) || name === "PGPASSWORD") found.push(value);
    if (/^(DATABASE_URL|ARTIFACTS_URL|.*_URL)$/.test(name)) found.push(...passwordsOf(value));
  }
  return found;
}

function passwordsOf(address: string): string[] {
  try {
    const url = new URL(address);
    const given = [url.password, url.searchParams.get("password") ?? ""].filter((p) => p !== "");
    return given.flatMap((p) => [p, decode(p)]);
  } catch {
    return [];
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A function that hides them in a line. */
export function redactor(secrets: readonly (string | null | undefined)[]): (text: string) => string {
  const values = secrets.filter((s): s is string => typeof s === "string" && s.length >= minLength);
  // The longest first: one may be part of another.
  const known = [...new Set(values.flatMap((v) => [v, encodeURIComponent(v)]))].sort((a, b) => b.length - a.length);
  return (text) => {
    let out = text;
    for (const value of known) out = out.replaceAll(value, hidden);
    for (const [pattern, to] of patterns) out = out.replaceAll(pattern, to);
    return out;
  };
}
