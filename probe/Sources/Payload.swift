// What was put into the app when it was built, or sent to its documents when it was too large for that: manifest, golden vectors,
// tokenizer, package.

import Foundation

struct Payload {
    let manifest: ProbeManifest
    let golden: Golden
    let package: URL
    /// Nil where the tokenizer is of a form that the probe does not know, or is not there.
    let tokenizer: BpeTokenizer?
    /// The tables beside the package.
    let rows: RowTables

    static func open() throws -> Payload {
        let bundled = Bundle.main.resourceURL?.appendingPathComponent("Payload")
        let sent = FileManager.default.urls(for: .documentDirectory, in: .userDomainMask).first?
            .appendingPathComponent("Payload")
        let places = [sent, bundled].compactMap { $0 }
        func find(_ name: String) -> URL? {
            places.map { $0.appendingPathComponent(name) }.first { FileManager.default.fileExists(atPath: $0.path) }
        }
        func need(_ name: String, _ hint: String) throws -> URL {
            guard let url = find(name) else { throw ProbeError("\(name) is not in the app", hint: hint) }
            return url
        }
        let rebuild = "Build the probe again from the folder that the export wrote."
        let decoder = JSONDecoder()
        let manifest = try decoder.decode(ProbeManifest.self, from: Data(contentsOf: need("probe.json", rebuild)))
        guard manifest.format == "espalier-probe/1" else {
            throw ProbeError("probe.json has the format \(manifest.format)", hint: rebuild)
        }
        let golden = try decoder.decode(Golden.self, from: Data(contentsOf: need("golden.json", rebuild)))
        let package = try need(manifest.package, "probe.sh sends packages that are too large for an app.")
        let tokenizer = manifest.tokenizer.canEncode ? find("tokenizer/tokenizer.json") : nil
        return Payload(
            manifest: manifest,
            golden: golden,
            package: package,
            tokenizer: try tokenizer.map { try BpeTokenizer(json: Data(contentsOf: $0)) },
            rows: try RowTables(manifest.interface) { try need($0, rebuild) }
        )
    }
}
