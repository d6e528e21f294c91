"use client";
/** @file How wide an element is, told again when it changes. */
import { type RefObject, useEffect, useRef, useState } from "react";

export function useWidth<T extends HTMLElement>(initial: number): [RefObject<T | null>, number] {
  const box = useRef<T>(null);
  const [width, setWidth] = useState(initial);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const read = (): void => setWidth(Math.floor(element.clientWidth));
    read();
    const watch = new ResizeObserver(read);
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return [box, width];
}
