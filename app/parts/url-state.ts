"use client";
/** @file The state of a page lives in its address: what is shown can be sent to somebody, and Back means back. */
import { usePathname, useSearchParams } from "next/navigation";
import { useCallback, useMemo, useSyncExternalStore } from "react";

export type AddressChanges = Readonly<Record<string, string | number | null>>;

// Next tells pages of a new address in a transition, some frames late. A second key pressed meanwhile would act on the old
// one, so what is set here holds at once, for as long as the address bar says the same.
let latest: { readonly path: string; readonly search: string } | null = null;
const listeners = new Set<() => void>();
const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** `get` reads a parameter; `set` changes some (null or "" takes one out), as a new step of the history unless `quietly`. */
export function useAddress(): {
  get(name: string): string | null;
  set(changes: AddressChanges, options?: { quietly?: boolean }): void;
} {
  const path = usePathname();
  const routed = useSearchParams();
  const own = useSyncExternalStore(
    subscribe,
    () => latest,
    () => null,
  );
  const isAhead =
    own !== null &&
    own.path === path &&
    own.path === window.location.pathname &&
    own.search === window.location.search.replace(/^\?/, "");
  const search = isAhead ? own.search : routed.toString();
  const params = useMemo(() => new URLSearchParams(search), [search]);
  const get = useCallback((name: string) => params.get(name), [params]);
  const set = useCallback(
    (changes: AddressChanges, { quietly = false } = {}): void => {
      // The address bar, not the last render: several changes may come before the page is drawn again.
      const next = new URLSearchParams(window.location.search);
      for (const [name, value] of Object.entries(changes)) {
        if (value === null || value === "") next.delete(name);
        else next.set(name, String(value));
      }
      const query = next.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
      const address = query === "" ? path : `${path}?${query}`;
      // A page that was left meanwhile does not write into another's address.
      if (window.location.pathname !== path) return;
      // Both take effect at once; a navigation of the router would be lost to a change that comes before it ends.
      if (quietly) window.history.replaceState(null, "", address);
      else window.history.pushState(null, "", address);
      latest = { path, search: window.location.search.replace(/^\?/, "") };
      for (const listener of listeners) listener();
    },
    [path],
  );
  return { get, set };
}
