// What the probe measured: the JSON that the workbench takes, format espalier-report/1. Nil is left out. Pure Swift.

import Foundation

struct Report: Codable {
    static let format = "espalier-report/1"
    static let probeVersion = "probe 1"

    struct Package: Codable {
        let name: String
        let sha256: String
        let weightsSha256: String?
        let sizeBytes: Int
    }

    struct Device: Codable {
        let kind: String
        let identifier: String
        let chip: String?
        let system: String
        let systemVersion: String
        let systemBuild: String?
        let memoryBytes: Int
        let lowPowerMode: Bool
    }

    struct Tools: Codable {
        let probe: String
        let configuration: String
        let compiler: String?
        let sdk: String?
    }

    /// Milliseconds of single calls.
    struct Spread: Codable {
        let count: Int
        let mean: Double
        let median: Double
        let p5: Double
        let p95: Double

        /// Nearest-rank percentiles; nil without a measurement.
        init?(_ times: [Double]) {
            guard !times.isEmpty else { return nil }
            let sorted = times.sorted()
            func rank(_ share: Double) -> Double {
                sorted[min(sorted.count - 1, max(0, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
            }
            count = sorted.count
            mean = times.reduce(0, +) / Double(times.count)
            median = rank(0.5)
            p5 = rank(0.05)
            p95 = rank(0.95)
        }
    }

    struct Load: Codable {
        let function: String
        let compileMs: Double?
        let firstMs: Double
        let warmMs: Double?
    }

    struct Parity: Codable {
        let `case`: String
        let positions: Int
        let maxLogitDifference: Double
        let tolerance: Double
        let topAgreement: Double
        let meanKl: Double
        let greedyTokens: Int
        let greedyIdentical: Bool
        let greedyFirstDifference: Int?
        let marginAtDifference: Double?
        let nonFinite: Int
        let passed: Bool
    }

    struct Decode: Codable {
        let function: String
        let context: Int
        let filled: Int
        let perToken: Spread
        let hostPerToken: Spread?
    }

    struct Prefill: Codable {
        let function: String
        let context: Int
        let width: Int
        let perCall: Spread
        let tokensPerSecond: Double
    }

    struct Window: Codable {
        let atSeconds: Double
        let tokens: Int
        let tokensPerSecond: Double
        let thermal: String
    }

    struct Sustained: Codable {
        let function: String
        let context: Int
        let windows: [Window]
    }

    struct Memory: Codable {
        let beforeBytes: Int
        let loadedBytes: Int
        let peakBytes: Int
        let availableBytes: Int?
    }

    struct Operation: Codable {
        let output: String
        let `operator`: String
        let preferred: String
        let supported: [String]
        let cost: Double?
    }

    struct Placement: Codable {
        let function: String
        let operations: [Operation]
    }

    struct Failure: Codable {
        let stage: String
        let message: String

        init(_ stage: String, _ error: Error) {
            self.stage = stage
            message = String(String(describing: error).prefix(2000))
        }
    }

    struct Run: Codable {
        let computeUnits: String
        var loads: [Load] = []
        var parity: [Parity] = []
        var decode: [Decode] = []
        var prefill: [Prefill] = []
        var sustained: Sustained?
        var memory: Memory?
        var placement: [Placement] = []
        var failures: [Failure] = []

        init(computeUnits: String) { self.computeUnits = computeUnits }
    }

    struct Thermal: Codable {
        let atSeconds: Double
        let state: String
    }

    struct Battery: Codable {
        let startPercent: Double
        let endPercent: Double
        let overSeconds: Double
        let charging: Bool
    }

    struct NotMeasured: Codable {
        let what: String
        let why: String
    }

    var format = Report.format
    let package: Package
    let device: Device
    let tools: Tools
    let startedAt: String
    var durationSeconds: Double
    var runs: [Run]
    var thermal: [Thermal]
    var battery: Battery?
    var notMeasured: [NotMeasured]

    /// The file that is sent, shared and pulled. Throws for a number that is not finite: a report holds none.
    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }
}
