/** @file The ground of reports in one file, without script or request: escaping, tables, the style in light and dark. */

export const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

export const htmlTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<table><thead><tr>${head.map((h) => `<th>${escapeHtml(h)}</th>`).join("")}</tr></thead><tbody>${rows
    .map(
      (r) =>
        `<tr>${r.map((c, i) => (i === 0 ? `<th scope="row">${escapeHtml(c)}</th>` : `<td>${escapeHtml(c)}</td>`)).join("")}</tr>`,
    )
    .join("")}</tbody></table>`;

export const pageStyle = `
:root{color-scheme:light dark;--ground:#fff;--ink:#17181a;--soft:#65696f;--line:#e4e4e0;--signal:#1c5bd0}
@media (prefers-color-scheme:dark){:root{--ground:#141618;--ink:#ecedee;--soft:#9297a0;--line:#25282c;--signal:#7aa7ff}}
body{margin:40px auto;max-width:960px;padding:0 20px;background:var(--ground);color:var(--ink);font:15px/1.6 Inter,system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:24px;font-weight:620;letter-spacing:-.017em}h2{font-size:17px;margin:40px 0 4px}p{max-width:80ch}.soft,small{color:var(--soft)}
table{border-collapse:collapse;font-size:13px}th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);font-weight:400}th:first-child{text-align:left}
.heat td{width:64px;text-align:center;border:2px solid var(--ground)}.heat small{display:block;font-size:11px;color:inherit;opacity:.85}.heat th{color:var(--soft)}
.gone{background-image:repeating-linear-gradient(45deg,transparent 0 5px,rgb(0 0 0/.45) 5px 6.5px);outline:1.5px solid var(--ink);outline-offset:-3px}
svg{width:100%;height:auto;font:11px Inter,system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line)}.goal{stroke:var(--signal);stroke-dasharray:6 3}.front{fill:none;stroke:var(--ink)}
.bar{stroke:var(--soft)}.point{fill:var(--ink)}.dominated{fill:var(--ground);stroke:var(--soft)}.winner{fill:var(--ink);stroke:var(--signal);stroke-width:3}.winner-row th,.winner-row td{font-weight:600}
pre{overflow:auto;padding:12px;border:1px solid var(--line);border-radius:8px;font:12px/1.5 "JetBrains Mono",monospace}`;
