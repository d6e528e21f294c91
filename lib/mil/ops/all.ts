/** @file Fills the op table. */
import "./attention.ts";
import "./compression.ts";
import "./constant.ts";
import "./elementwise.ts";
import "./gather-scatter.ts";
import "./linear-algebra.ts";
import "./logic.ts";
import "./normalization.ts";
import "./reduction.ts";
import "./shape.ts";
import "./state.ts";
