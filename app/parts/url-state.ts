"use client";
/** @file The state of a page lives in its address: what is shown can be sent to somebody, and Back means back. */
import { usePathname, useRouter, useSearchParams } from "next/navigation";
import { useCallback } from "react";

export type AddressChanges = Readonly<Record<string, string | number | null>>;

/** `get` reads a parameter; `set` changes some (null or "" takes one out), as a new step of the history unless `quietly`. */
export function useAddress(): {
  get(name: string): string | null;
  set(changes: AddressChanges, options?: { quietly?: boolean }): void;
} {
  const params = useSearchParams();
  const path = usePathname();
  const router = useRouter();
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
      if (quietly) window.history.replaceState(null, "", address);
      else router.push(address, { scroll: false });
    },
    [path, router],
  );
  return { get, set };
}
