// The host's own arithmetic on the device: what the workbench has checked elsewhere, once more where it counts.

import XCTest

@testable import Probe

final class HostTests: XCTestCase {
    func testGoldenLogitsPassAgainstThemselves() throws {
        let payload = try Payload.open()
        let golden = payload.golden
        for goldenCase in golden.cases {
            var comparison = GoldenComparison(golden, goldenCase)
            for want in comparison.sequence.positions {
                var logits = [Float](repeating: -30, count: golden.vocab)
                for (token, logit) in zip(want.tokens, want.logits) { logits[token] = Float(logit) }
                comparison.add(want.position, logits)
            }
            let parity = comparison.finish(greedy: comparison.sequence.greedy)
            XCTAssertTrue(parity.passed)
            XCTAssertEqual(parity.topAgreement, 1)
        }
    }

    func testTokenizerGivesTextBack() throws {
        guard let tokenizer = try Payload.open().tokenizer else { return }
        let text = "Once upon a time, there was a tree."
        XCTAssertEqual(tokenizer.decode(tokenizer.encode(text)), text)
    }

    func testInputsHaveTheShapesOfTheInterface() throws {
        let payload = try Payload.open()
        let interface = payload.manifest.interface
        let tables = HostTables(interface: interface, rows: payload.rows)
        for function in interface.functions {
            let inputs = try tables.inputs(function, tokens: [0], position: 0)
            for (name, array) in inputs {
                XCTAssertEqual(array.values.count, array.shape.reduce(1, *), name)
            }
        }
    }
}
