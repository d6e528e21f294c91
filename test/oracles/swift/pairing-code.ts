/** A pairing link and its QR code, for an independent reader. */
import { pairingUrl, qrCode } from "../../../server/reports/pairing-link.ts";

const url = pairingUrl("http://192.168.178.21:3000", "AbCdEf0123456789-_xyzA", "0123456789ab".padEnd(64, "0"));
process.stdout.write(JSON.stringify({ url, svg: qrCode(url) }));
