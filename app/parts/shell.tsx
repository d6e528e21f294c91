"use client";
/** @file The frame around every page: navigation in the order of the journey, the bars, the palette, the keys. */
import { useQuery } from "@tanstack/react-query";
import { usePathname, useRouter } from "next/navigation";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from "react";
import { useIsLive, useTRPC } from "./api.tsx";
import { Keys } from "./controls.tsx";
import { type HotkeyId, useHotkeyListener, useHotkeys } from "./hotkeys.ts";
import { Icon, type IconName, Mark } from "./icons.tsx";
import { KeysPage } from "./keys-page.tsx";
import { Link } from "./link.tsx";
import { Palette } from "./palette.tsx";
import { ToastProvider } from "./toast.tsx";

interface Place {
  readonly href: string;
  readonly name: string;
  readonly icon: IconName;
  readonly key: HotkeyId;
  readonly counts?: "models" | "runs" | "notebooks" | "packages";
}

const journey: readonly (readonly Place[])[] = [
  [
    { href: "/", name: "Home", icon: "home", key: "go.home" },
    { href: "/models", name: "Models", icon: "layers", key: "go.models", counts: "models" },
  ],
  [
    { href: "/explore", name: "Explore", icon: "grid", key: "go.explore" },
    { href: "/quantize", name: "Quantize", icon: "bars", key: "go.quantize" },
    { href: "/tradeoff", name: "Trade-off", icon: "stairs", key: "go.tradeoff" },
  ],
  [
    { href: "/runs", name: "Runs", icon: "list", key: "go.runs", counts: "runs" },
    { href: "/notebooks", name: "Notebooks", icon: "notebook", key: "go.notebooks", counts: "notebooks" },
    { href: "/packages", name: "Packages", icon: "box", key: "go.packages", counts: "packages" },
    { href: "/devices", name: "Devices", icon: "phone", key: "go.devices" },
  ],
];
const places = journey.flat();

const isAt = (path: string, href: string): boolean =>
  href === "/"
    ? path === "/"
    : path.startsWith(href) || (href === "/runs" && (path === "/new" || path.startsWith("/sweeps")));

function switchTheme(): void {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}

const PaletteContext = createContext<() => void>(() => undefined);

export function Shell({ children }: { children: ReactNode }) {
  const path = usePathname();
  const router = useRouter();
  const trpc = useTRPC();
  const isLive = useIsLive();
  const info = useQuery(trpc.system.info.queryOptions(undefined, { refetchInterval: 15_000 }));
  const hosts = info.data?.hosts ?? [];
  const [busy, slots] = [hosts.reduce((n, h) => n + h.busy, 0), hosts.reduce((n, h) => n + h.slots, 0)];
  const [layer, setLayer] = useState<"palette" | "keys" | null>(null);
  const [rail, setRail] = useState<boolean | null>(null);

  // Explore opens with the rail; whoever chose otherwise keeps it.
  useEffect(() => {
    const kept = localStorage.getItem("navigation");
    const isRail = kept === null ? path.startsWith("/explore") : kept === "rail";
    setRail(isRail);
    document.documentElement.dataset.nav = isRail ? "rail" : "full";
  }, [path]);
  const switchRail = useCallback(() => {
    const next = document.documentElement.dataset.nav === "rail" ? "full" : "rail";
    localStorage.setItem("navigation", next);
    document.documentElement.dataset.nav = next;
    setRail(next === "rail");
  }, []);
  const openPalette = useCallback(() => setLayer("palette"), []);
  const closeLayer = useCallback(() => setLayer(null), []);

  useHotkeyListener();
  useHotkeys({
    palette: openPalette,
    keys: () => setLayer("keys"),
    navigation: switchRail,
    theme: switchTheme,
    ...Object.fromEntries(places.map((p) => [p.key, () => router.push(p.href)])),
  });
  const workers =
    slots === 0
      ? "no worker"
      : busy === 0
        ? `${slots} worker${slots === 1 ? "" : "s"} ready`
        : `${busy} of ${slots} workers busy`;
  return (
    <ToastProvider>
      <PaletteContext.Provider value={openPalette}>
        <div className="shell">
          <a ref={skipLink} className="skip" href="#main">
            Skip to the figure
          </a>
          <nav className="nav" aria-label="Places">
            <button type="button" className="mark" onClick={switchRail} title="Narrow or widen the navigation">
              <Mark />
              <span className="word">Espalier</span>
              {rail ? <span className="visually-hidden">Widen the navigation</span> : null}
            </button>
            {journey.map((group, i) => (
              <span key={group[0]?.href} style={{ display: "contents" }}>
                {i > 0 ? <span className="gap" aria-hidden="true" /> : null}
                {group.map((p) => (
                  <Link
                    key={p.href}
                    href={p.href}
                    title={rail ? p.name : undefined}
                    aria-label={rail ? p.name : undefined}
                    aria-current={isAt(path, p.href) ? "page" : undefined}
                  >
                    <Icon name={p.icon} />
                    <span className="word">{p.name}</span>
                    {p.counts && info.data?.counts[p.counts] ? (
                      <span className="count" aria-hidden="true">
                        {info.data.counts[p.counts]}
                      </span>
                    ) : null}
                  </Link>
                ))}
              </span>
            ))}
            <div className="foot">
              <span
                className={isLive ? undefined : "offline"}
                role="status"
                title={isLive ? workers : "offline, reconnecting"}
              >
                <Icon name={isLive ? "chip" : "broken"} />
                <span className="word">{isLive ? workers : "offline, reconnecting"}</span>
              </span>
              <button type="button" onClick={switchTheme} title="Light or dark">
                <Icon name="moon" />
                <span className="word">Light or dark</span>
                {rail ? <span className="visually-hidden">Light or dark</span> : null}
              </button>
            </div>
          </nav>
          <main id="main">{children}</main>
        </div>
        <Palette isOpen={layer === "palette"} close={closeLayer} />
        <KeysPage isOpen={layer === "keys"} close={closeLayer} />
      </PaletteContext.Provider>
    </ToastProvider>
  );
}

/** The skip link leads to what the page is about: its grid, where it has one, else its figure. */
const skipLink = (link: HTMLAnchorElement | null): (() => void) => {
  link?.addEventListener("click", skip);
  return () => link?.removeEventListener("click", skip);
};

function skip(event: Event): void {
  const main = document.getElementById("main");
  const target = ['[role="grid"] [tabindex="0"]', "figure", "section", "table"]
    .map((s) => main?.querySelector<HTMLElement>(s))
    .find((e) => e);
  if (!target) return;
  event.preventDefault();
  if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
  target.focus();
}

export interface TopBarProps {
  /** The last crumb. */
  readonly title: ReactNode;
  /** What the tab is called, where the last crumb says it otherwise or not enough. */
  readonly name?: string | undefined;
  /** The pages above it, outermost first. */
  readonly trail?: readonly { readonly name: string; readonly href: string }[];
  /** State of the thing. */
  readonly chips?: ReactNode;
  /** Actions at the right, before Search. */
  readonly children?: ReactNode;
}

export function TopBar({ title, name, trail = [], chips, children }: TopBarProps) {
  const openPalette = useContext(PaletteContext);
  const ofTab = name ?? (typeof title === "string" ? title : "");
  useEffect(() => {
    document.title = ofTab === "" || ofTab === "Espalier" ? "Espalier" : `${ofTab} · Espalier`;
  }, [ofTab]);
  return (
    <header className="top-bar">
      <span className="trail">
        {trail.map((t) => (
          <span key={t.href} style={{ display: "contents" }}>
            <Link href={t.href}>{t.name}</Link>
            <span className="slash" aria-hidden="true">
              /
            </span>
          </span>
        ))}
        <h1>{title}</h1>
      </span>
      {chips}
      <span className="end row" style={{ flexWrap: "nowrap" }}>
        {children}
        <button type="button" className="quiet" onClick={openPalette}>
          <Icon name="search" />
          Search
          <Keys of="palette" />
        </button>
      </span>
    </header>
  );
}

/** What is shown, at the left; where the figure comes from, at the right. */
export function ToolBar({ children, provenance }: { children: ReactNode; provenance?: ReactNode }) {
  return (
    <div className="tool-bar" role="toolbar" aria-label="What is shown">
      {children}
      {provenance ? <span className="end soft small">{provenance}</span> : null}
    </div>
  );
}

/** Copies the address, which is the state of the page. */
export function ShareButton() {
  const [done, setDone] = useState(false);
  return (
    <button
      type="button"
      className="quiet"
      onClick={() =>
        void navigator.clipboard.writeText(window.location.href).then(() => {
          setDone(true);
          setTimeout(() => setDone(false), 1500);
        })
      }
    >
      <Icon name={done ? "check" : "link"} />
      {done ? "Copied" : "Share"}
    </button>
  );
}
