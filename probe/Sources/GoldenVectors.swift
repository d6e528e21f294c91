// What the package must say, and how what it says is held against it. The arithmetic of experiments/probe/compare.ts of the
// workbench. Pure Swift: no Core ML here.

import Foundation

struct Golden: Codable {
    struct Position: Codable {
        let position: Int
        let tokens: [Int]
        let logits: [Double]
        let logSumExp: Double
    }

    struct Sequence: Codable {
        let name: String
        let prompt: [Int]
        let greedy: [Int]
        /// Best less second-best logit where each greedy token was chosen.
        let margins: [Double]
        let positions: [Position]
    }

    struct Case: Codable {
        let name: String
        let decode: String
        let prefill: String?
        let context: Int
        let sequence: Int
    }

    let format: String
    let vocab: Int
    let tolerance: Double
    let sequences: [Sequence]
    let cases: [Case]
}

struct GoldenComparison {
    let golden: Golden
    let goldenCase: Golden.Case
    private let expected: [Int: Golden.Position]
    private var positions = 0
    private var worst = 0.0
    private var agreed = 0
    private var divergence = 0.0
    private var nonFinite = 0

    init(_ golden: Golden, _ goldenCase: Golden.Case) {
        self.golden = golden
        self.goldenCase = goldenCase
        expected = Dictionary(
            golden.sequences[goldenCase.sequence].positions.map { ($0.position, $0) }, uniquingKeysWith: { $1 })
    }

    var sequence: Golden.Sequence { golden.sequences[goldenCase.sequence] }

    /// Logits after the token at `position`; positions the vectors do not list are let through.
    mutating func add(_ position: Int, _ logits: [Float]) {
        guard let want = expected[position] else { return }
        positions += 1
        let broken = logits.reduce(0) { $0 + ($1.isFinite ? 0 : 1) }
        nonFinite += broken
        guard broken == 0, let best = argmax(logits) else { return }
        for (token, logit) in zip(want.tokens, want.logits) { worst = max(worst, abs(Double(logits[token]) - logit)) }
        if best == want.tokens[0] { agreed += 1 }
        divergence += listedDivergence(want, logits, top: Double(logits[best]))
    }

    /// KL(expected ‖ found) over the listed tokens, the rest taken as one.
    private func listedDivergence(_ want: Golden.Position, _ logits: [Float], top: Double) -> Double {
        let logSum = top + log(logits.reduce(0.0) { $0 + exp(Double($1) - top) })
        var kl = 0.0
        var restExpected = 1.0
        var restFound = 1.0
        for (token, logit) in zip(want.tokens, want.logits) {
            let a = logit - want.logSumExp
            let b = Double(logits[token]) - logSum
            kl += exp(a) * (a - b)
            restExpected -= exp(a)
            restFound -= exp(b)
        }
        restExpected = max(restExpected, 1e-12)
        restFound = max(restFound, 1e-12)
        return kl + restExpected * log(restExpected / restFound)
    }

    /// With the tokens that free running gave.
    func finish(greedy: [Int]) -> Report.Parity {
        let wanted = sequence.greedy
        let difference = wanted.indices.first { $0 >= greedy.count || greedy[$0] != wanted[$0] }
        let margin = difference.flatMap { $0 < sequence.margins.count ? sequence.margins[$0] : nil }
        let logitsHold = nonFinite == 0 && positions > 0 && worst <= golden.tolerance
        let tied = margin.map { $0 < 2 * golden.tolerance } ?? false
        return Report.Parity(
            case: goldenCase.name,
            positions: positions,
            maxLogitDifference: worst,
            tolerance: golden.tolerance,
            topAgreement: positions > 0 ? Double(agreed) / Double(positions) : 0,
            meanKl: positions > nonFinite ? divergence / Double(max(1, positions)) : 0,
            greedyTokens: wanted.count,
            greedyIdentical: difference == nil,
            greedyFirstDifference: difference,
            marginAtDifference: margin,
            nonFinite: nonFinite,
            passed: logitsHold && (difference == nil || tied)
        )
    }
}
