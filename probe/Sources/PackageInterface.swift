// What the probe has to know of its package. The same schema as `espalier.interface` in the package's metadata; see
// docs/package-interface.md of the workbench. Pure Swift: no Core ML here, so that it runs and is tested off a device.

import Foundation

struct ProbeManifest: Codable {
    let format: String
    let name: String
    let package: String
    let sha256: String
    let weightsSha256: String?
    let sizeBytes: Int
    let interface: PackageInterface
    let tokenizer: TokenizerFacts

    struct TokenizerFacts: Codable {
        let canEncode: Bool
        let reason: String
    }
}

struct PackageInterface: Codable {
    enum Layout: String, Codable {
        case plain
        case neuralEngine = "neural-engine"
    }

    enum CacheForm: String, Codable {
        case state
        case arguments
    }

    struct LogitPart: Codable {
        let output: String
        let from: Int
        let to: Int
    }

    struct Softcap: Codable {
        let cap: Double
        /// Whether the package caps its logits itself; otherwise that is the host's part.
        let applied: Bool
    }

    struct Rope: Codable {
        let cos: String
        let sin: String
        let inverseFrequencies: [Float]
        let attentionFactor: Double
    }

    struct Mask: Codable {
        let input: String
        let cache: String
        let window: Int?
    }

    struct Embedding: Codable {
        let location: String
        let file: String?
        let scale: Float?
    }

    struct PerLayer: Codable {
        let input: String
        let file: String
        let channels: Int
        let scale: Float
    }

    let version: Int
    let layout: Layout
    let vocab: Int
    let hidden: Int?
    let cacheForm: CacheForm?
    let beginToken: Int?
    let startToken: Int?
    let stopTokens: [Int]
    let embedding: Embedding?
    let perLayer: PerLayer?
    let logits: [LogitPart]?
    let finalSoftcap: Softcap?
    let maskedValue: Double?
    let ropes: [Rope]?
    let masks: [Mask]?
    let functions: [PackageFunction]

    /// The function of this name. Throws `ProbeError` when the package has none.
    func function(_ name: String) throws -> PackageFunction {
        guard let found = functions.first(where: { $0.name == name }) else {
            let known = functions.map(\.name).joined(separator: ", ")
            throw ProbeError("the package has no function \(name)", hint: "It has \(known).")
        }
        return found
    }

    /// A text to be continued, after the token it begins with; empty where there is nothing to begin with.
    func prompt(_ text: [Int]) -> [Int] {
        let ids = (beginToken.map { [$0] } ?? []) + text
        return ids.isEmpty ? startToken.map { [$0] } ?? [] : ids
    }

    func ends(_ token: Int) -> Bool { stopTokens.contains(token) }

    var decodeFunctions: [PackageFunction] { functions.filter { $0.role == .decode } }

    /// The widest prefill that fills the same caches as a decode function.
    func prefill(for decode: PackageFunction) -> PackageFunction? {
        functions.filter { $0.role == .prefill && $0.context == decode.context }.max { $0.width < $1.width }
    }
}

struct PackageFunction: Codable {
    enum Role: String, Codable {
        case decode
        case prefill
    }

    enum Rows: String, Codable {
        case all
        case last
    }

    struct Cache: Codable {
        enum Write: String, Codable {
            case slice
            case blend
        }

        enum Attends: String, Codable {
            case cache
            case cacheThenChunk = "cache-then-chunk"
        }

        let name: String
        let slots: Int
        let write: Write
        let attends: Attends
    }

    let name: String
    let role: Role
    /// Tokens a call takes.
    let width: Int
    /// Positions it can look at.
    let context: Int
    let logits: Rows?
    let caches: [Cache]?

    /// Whether `count` tokens at `position` can go through this function in one call.
    func takes(_ count: Int, at position: Int) -> Bool {
        guard count >= 1, count <= width, position >= 0, position + count <= context else { return false }
        guard let caches else { return position + width <= context }
        return caches.allSatisfy { $0.write == .blend || position % $0.slots + width <= $0.slots }
    }
}

/// What went wrong and what to do about it, for the screen and the report.
struct ProbeError: Error, CustomStringConvertible, LocalizedError {
    let message: String
    let hint: String?

    init(_ message: String, hint: String? = nil) {
        self.message = message
        self.hint = hint
    }

    var description: String { hint.map { "\(message). \($0)" } ?? message }
    var errorDescription: String? { description }
}
