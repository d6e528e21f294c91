"use client";
/**
 * @file A link whose page is asked for when a pointer or the focus comes to it. Asking for every page in view, as Next does by
 * itself, keeps the server busy just when a page waits for its data.
 */
import NextLink from "next/link";
import { useRouter } from "next/navigation";
import type { ComponentProps } from "react";

export function Link(props: Omit<ComponentProps<typeof NextLink>, "href" | "prefetch"> & { href: string }) {
  const router = useRouter();
  const ask = (): void => router.prefetch(props.href);
  return <NextLink {...props} prefetch={false} onPointerEnter={ask} onFocus={ask} />;
}
