"use client";
import { useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { usePathname } from "next/navigation";
import type { ReactNode } from "react";
import { useIsLive, useTRPC } from "./api.tsx";

const places = [
  ["/", "Home"],
  ["/models", "Models"],
  ["/explore", "Explore"],
  ["/tradeoff", "Trade-off"],
  ["/runs", "Runs"],
  ["/packages", "Packages"],
] as const;

function switchTheme(): void {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}

export function Shell({ children }: { children: ReactNode }) {
  const path = usePathname();
  const trpc = useTRPC();
  const isLive = useIsLive();
  const info = useQuery(trpc.system.info.queryOptions(undefined, { refetchInterval: 15_000 }));
  const hosts = info.data?.hosts ?? [];
  const busy = hosts.reduce((n, h) => n + h.busy, 0);
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <nav aria-label="Places">
        <p style={{ margin: "0 10px 12px", fontWeight: 620 }}>Espalier</p>
        {places.map(([href, name]) => (
          <Link
            key={href}
            href={href}
            aria-current={
              (href === "/" ? path === "/" : path.startsWith(href) || (href === "/runs" && path === "/new"))
                ? "page"
                : undefined
            }
          >
            {name}
          </Link>
        ))}
        <div className="foot small soft">
          <span>
            {isLive ? `${hosts.length} host${hosts.length === 1 ? "" : "s"}, ${busy} busy` : "offline, reconnecting"}
          </span>
          <button type="button" onClick={switchTheme}>
            Light or dark
          </button>
        </div>
      </nav>
      <main id="main">{children}</main>
    </div>
  );
}

export function TopBar({ title, children }: { title: ReactNode; children?: ReactNode }) {
  return (
    <header className="top-bar">
      <h1>{title}</h1>
      {children}
    </header>
  );
}
