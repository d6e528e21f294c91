#!/usr/bin/env node
// Runs the TypeScript sources directly; `tsx` comes with the project.
import { register } from "tsx/esm/api";

register();
await import("./main.ts");
