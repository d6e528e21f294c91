/** @type {import("next").NextConfig} */
export default {
  reactStrictMode: true,
  poweredByHeader: false,
  // One server answers pages and API; it compresses nothing, so that streams are not held back.
  compress: false,
  images: { unoptimized: true },
};
