/** @type {import("next").NextConfig} */
export default {
  reactStrictMode: true,
  poweredByHeader: false,
  // One server answers pages and API; it compresses nothing, so that streams are not held back.
  compress: false,
  // `npm run types` checks every file; checking them again would only make the first start slower.
  typescript: { ignoreBuildErrors: true },
  images: { unoptimized: true },
};
