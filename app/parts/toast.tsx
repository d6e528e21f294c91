"use client";
/** @file Undo of something that is off screen: one at a time, six seconds. */
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from "react";
import { IconButton } from "./controls.tsx";

interface Toast {
  readonly text: string;
  readonly undo: () => void;
}

const ToastContext = createContext<(toast: Toast) => void>(() => undefined);
export const useToast = (): ((toast: Toast) => void) => useContext(ToastContext);

const SHOWN_MS = 6_000;

export function ToastProvider({ children }: { children: ReactNode }) {
  const [toast, setToast] = useState<Toast | null>(null);
  useEffect(() => {
    if (!toast) return;
    const timer = setTimeout(() => setToast(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [toast]);
  const show = useCallback((t: Toast) => setToast(t), []);
  return (
    <ToastContext.Provider value={show}>
      {children}
      <div role="status">
        {toast ? (
          <div className="toast">
            {toast.text}
            <button
              type="button"
              onClick={() => {
                toast.undo();
                setToast(null);
              }}
            >
              Undo
            </button>
            <IconButton icon="cross" label="Close" onClick={() => setToast(null)} />
          </div>
        ) : null}
      </div>
    </ToastContext.Provider>
  );
}
