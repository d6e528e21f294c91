import "./globals.css";
import { headers } from "next/headers";
import type { ReactNode } from "react";
import { ApiProvider } from "./parts/api.tsx";
import { Shell } from "./parts/shell.tsx";

export const metadata = { title: "Espalier", description: "A workbench for compressing transformer language models" };

/** Before anything is painted. */
const theme =
  "document.documentElement.dataset.theme=localStorage.getItem('theme')??(matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light');document.documentElement.dataset.nav=localStorage.getItem('navigation')??(location.pathname.startsWith('/explore')?'rail':'full')";

export default async function Layout({ children }: { children: ReactNode }) {
  // The server hands its policy on; Next takes the nonce of its own scripts from the same header.
  const nonce = /'nonce-([^']+)'/.exec((await headers()).get("content-security-policy") ?? "")?.[1];
  return (
    <html lang="en" suppressHydrationWarning>
      <head>
        {/* biome-ignore lint/security/noDangerouslySetInnerHtml: a constant of this file */}
        <script nonce={nonce} suppressHydrationWarning dangerouslySetInnerHTML={{ __html: theme }} />
      </head>
      <body>
        <ApiProvider>
          <Shell>{children}</Shell>
        </ApiProvider>
      </body>
    </html>
  );
}
